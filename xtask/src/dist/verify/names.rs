//! A name server for one name in the calling thread's network namespace: DNS as far as a look-up needs it (RFC 1035).

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    thread,
    time::Duration,
};

/// The name that it knows; `Name::ADDRESS` is what it answers.
pub(super) const NAME: &str = "answers.probe.test";
const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// How long it waits for each of its questions.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers on 127.0.0.1 until nobody asks for a minute.
///
/// # Errors
/// If the port is taken.
pub(super) fn serve() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((bytes, asker)) = socket.recv_from(&mut question) {
            if let Some(answer) = answer(&question[..bytes]) {
                let _ = socket.send_to(&answer, asker);
            }
        }
    });
    Ok(())
}

/// Returns the reply to a question: the address for type A, no address for others, and for other names that there is none.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let (name, length) = name_in(question.get(12..)?)?;
    let end = 12 + length + 4;
    let kind = question.get(end - 4..end - 2)?;
    let (known, has) = (name == NAME, name == NAME && kind == [0, 1]);
    let mut reply = question.get(..2)?.to_vec();
    // A response, recursion desired and available; NXDOMAIN is 3.
    reply.extend([0x81, if known { 0x80 } else { 0x83 }, 0, 1, 0, u8::from(has), 0, 0, 0, 0]);
    reply.extend(question.get(12..end)?);
    if has {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        reply.extend(ADDRESS.octets());
    }
    Some(reply)
}

/// Returns a name of labels, and the bytes that it takes.
fn name_in(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length == 0 {
            return Some((labels.join("."), at + 1));
        }
        labels.push(String::from_utf8_lossy(bytes.get(at + 1..at + 1 + length)?).to_lowercase());
        at += 1 + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str, kind: u8) -> Vec<u8> {
        let mut bytes = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes
    }

    #[test]
    fn one_name_has_an_address_and_others_are_unknown() {
        let known = answer(&question("Answers.probe.test", 1)).unwrap();
        assert!(known.starts_with(&[7, 8, 0x81, 0x80, 0, 1, 0, 1]) && known.ends_with(&[0, 4, 127, 0, 0, 1]));
        assert_eq!(answer(&question(NAME, 28)).unwrap()[..8], [7, 8, 0x81, 0x80, 0, 1, 0, 0]);
        assert_eq!(answer(&question("other.test", 1)).unwrap()[3], 0x83);
        assert_eq!(answer(&[0; 13]), None);
    }
}
