//! Building and sending echo packets: messages and frames as bytes, targets, sockets, and why a kernel refuses.

pub mod batch;
pub mod cause;
pub mod checksum;
pub mod error_tap;
pub mod fragment_tap;
pub mod frame;
pub mod options;
pub mod packet;
pub mod prober;
pub mod quoted;
pub mod returned;
pub mod sender;
pub mod target;

pub use cause::{Refused, SendRoute};
pub use checksum::{checksum, checksum_v6};
pub use frame::Frame;
pub use packet::EchoMessage;
pub use prober::{ProbePlan, Prober, ProberError};
pub use returned::{ErrorOrigin, Returned};
pub use sender::{Fragmentation, ProgramSocket, Sender, SenderError, Settings, SocketType};
pub use target::{ResolvedTarget, TargetError};
