//! What a program can do wrong to the socket on which it waits for replies.

use std::{io, os::fd::AsFd};

use socket2::{SockFilter, SockRef};

/// Trouble with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketTrouble {
    /// A socket filter (`SO_ATTACH_FILTER`) that keeps no packet.
    Filter,
    /// The smallest buffer that there is (`SOCK_MIN_RCVBUF`), and nobody reads while the replies come.
    Buffer,
}

impl SocketTrouble {
    /// Sets it on `socket`.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn put_on(self, socket: &impl AsFd) -> io::Result<()> {
        match self {
            // Classic BPF, BPF_RET | BPF_K: keep no byte.
            Self::Filter => SockRef::from(socket).attach_filter(&[SockFilter::new(0x06, 0, 0, 0)]),
            Self::Buffer => SockRef::from(socket).set_recv_buffer_size(1),
        }
    }
}
