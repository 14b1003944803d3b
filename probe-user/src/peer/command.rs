//! The near end: starts a command whose stdin and stdout reach an agent, talks to it, and ends it.

mod child;
mod deploy;
mod peer_reader;
mod trouble;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use self::{child::Shell, peer_reader::PeerMessage};
use super::{
    clock::FarClock,
    protocol::{
        AgentReply, Hello, MAX_REQUEST_BYTES, Numbered, Offer, Ready, Request, SendOrder,
        frame::{FrameError, encode},
    },
};
use crate::{
    clock::monotonic_ns,
    model::{
        request::WatchRequest,
        trace::{HostTrace, SenderTrace, Taken},
    },
    stop::{LOOK, StopSignal},
    traffic::batch::{BatchProgress, PacketSpec},
};

pub use trouble::{NoHello, Trouble};

/// How to reach the far end.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// The command line for `sh -c`.
    pub command: String,
    /// Whether the command runs a shell there, to which this program is copied first.
    pub deploy: Deploy,
    /// The program that is copied: this one.
    pub program: PathBuf,
    /// How long the far end may take to send its hello.
    pub hello: Duration,
    /// How long it may take for each reply.
    pub answer: Duration,
}

/// Whether this program is copied to the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deploy {
    /// The command starts an agent that is installed there.
    #[default]
    No,
    /// The command runs the words appended to it there, as `ssh b sudo` does.
    Yes,
}

impl PeerOptions {
    /// Returns the options for a command that starts an agent, with the usual timeouts.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            deploy: Deploy::No,
            // A link to the running file that works even if it was replaced or removed meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            hello: Duration::from_secs(15),
            answer: Duration::from_secs(10),
        }
    }
}

/// Where the far end's other output goes, line by line: its stderr, and banners before its hello.
pub type Relay = Arc<dyn Fn(&str) + Send + Sync>;

/// A far end. Dropping it ends its command.
pub struct Peer {
    shell: Shell,
    messages: Receiver<PeerMessage>,
    options: PeerOptions,
    stop: StopSignal,
    relay: Relay,
    hello: Option<Hello>,
    number: u32,
    looking: Option<(u32, Instant)>,
}

impl Peer {
    /// Starts the command. Its other output goes to `relay`. Every wait ends early when `stop` is requested.
    ///
    /// # Errors
    /// If not even a shell can be started.
    pub fn start(options: PeerOptions, stop: &StopSignal, relay: Relay) -> Result<Self, Trouble> {
        let line = match options.deploy {
            Deploy::No => options.command.clone(),
            Deploy::Yes => format!("{} sh", options.command),
        };
        let (shell, messages) = Shell::start(&line, Arc::clone(&relay))?;
        Ok(Self { shell, messages, options, stop: stop.clone(), relay, hello: None, number: 0, looking: None })
    }

    /// Waits for the far end's hello, after copying this program there if that was requested.
    ///
    /// # Errors
    /// Every way in which the command fails to start an agent of this version.
    pub fn greet(&mut self) -> Result<&Hello, Trouble> {
        let mut until = Instant::now() + self.options.hello;
        if self.options.deploy == Deploy::Yes {
            deploy::take_over(self, until)?;
            until = Instant::now() + self.options.hello;
        }
        let hello = loop {
            match self.receive(until) {
                Ok(PeerMessage::Hello(hello)) => break hello,
                Ok(PeerMessage::Banner(line)) => self.banner(&line),
                Ok(PeerMessage::End) => return Err(self.ended_early()),
                Ok(PeerMessage::Broken(error)) => return Err(self.no_hello(Some(error))),
                Ok(PeerMessage::Answer(_)) => return Err(self.no_hello(None)),
                Err(Silence::TooLong) => return Err(self.no_hello(None)),
                Err(Silence::Stopped) => return Err(Trouble::Stopped),
            }
        };
        let hello = hello.map_err(|why| Trouble::UnreadableHello { why })?;
        hello.check().map_err(|mismatch| Trouble::Mismatch { mismatch, version: hello.version.clone() })?;
        Ok(self.hello.insert(hello))
    }

    /// Makes the far end watch a run.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn watch(&mut self, request: WatchRequest) -> Result<Ready, Trouble> {
        match self.ask(Request::Watch(request))? {
            AgentReply::Ready(ready) => Ok(ready),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns what the far end has seen so far, if a reply has arrived; asks for the next one without waiting.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn look(&mut self) -> Result<Option<HostTrace>, Trouble> {
        let mut sight = None;
        if let Some((number, since)) = self.looking {
            match self.messages.try_recv() {
                Ok(message) => match self.answer_of(message, number)? {
                    Some(AgentReply::Sight(seen)) => {
                        self.looking = None;
                        sight = Some(*seen);
                    }
                    Some(other) => return Err(self.unexpected(&other)),
                    None => {}
                },
                Err(TryRecvError::Empty) if since.elapsed() < self.options.answer => {}
                Err(TryRecvError::Empty) => return Err(self.silent()),
                Err(TryRecvError::Disconnected) => return Err(self.ended_in_the_middle()),
            }
        }
        if self.looking.is_none() {
            self.looking = Some((self.write_request(Request::Look)?, Instant::now()));
        }
        Ok(sight)
    }

    /// Waits for what the far end has seen so far, without the lookups that it makes at the end.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn see(&mut self) -> Result<HostTrace, Trouble> {
        match self.ask(Request::Look)? {
            AgentReply::Sight(sight) => Ok(*sight),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks for everything that the far end saw; [`Peer::finished`] waits for it.
    ///
    /// # Errors
    /// Why it cannot be talked to.
    pub fn finish(&mut self) -> Result<Finishing, Trouble> {
        Ok(Finishing(self.write_request(Request::Finish)?))
    }

    /// Waits for everything that the far end saw, which then detaches.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn finished(&mut self, asked: Finishing) -> Result<HostTrace, Trouble> {
        match self.answer_to(asked.0)? {
            AgentReply::Sight(sight) => Ok(*sight),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Makes the far end send echo packets to this one.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn send(&mut self, order: SendOrder) -> Result<SenderTrace, Trouble> {
        match self.ask(Request::Send(order))? {
            AgentReply::Sent(sent) => Ok(sent),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns the requests that the far end absorbed and has not reported yet.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn absorbed(&mut self) -> Result<Taken, Trouble> {
        match self.ask(Request::Absorbed)? {
            AgentReply::Absorbed(taken) => Ok(taken),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Makes the far end send a batch to this one, without waiting for it; returns how many packets it accepted.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn send_batch(&mut self, packets: Vec<PacketSpec>) -> Result<u32, Trouble> {
        match self.ask(Request::Batch(packets))? {
            AgentReply::Loaded(count) => Ok(count),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Returns the packets that the far end has sent and not reported yet.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn batch_progress(&mut self) -> Result<BatchProgress, Trouble> {
        match self.ask(Request::BatchProgress)? {
            AgentReply::BatchProgress(progress) => Ok(progress),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Learns more of the far end's clock from one question.
    ///
    /// # Errors
    /// The far end's complaint, or why it cannot be talked to.
    pub fn learn_clock(&mut self, clock: &mut FarClock) -> Result<(), Trouble> {
        let before = monotonic_ns();
        match self.ask(Request::Clock)? {
            AgentReply::Clock(far) => {
                clock.learn(before, far, monotonic_ns());
                Ok(())
            }
            other => Err(self.unexpected(&other)),
        }
    }

    fn ask(&mut self, request: Request) -> Result<AgentReply, Trouble> {
        // The reply to a look that is on its way is skipped below.
        self.looking = None;
        let number = self.write_request(request)?;
        self.answer_to(number)
    }

    /// Sends the request, if the far end offered to serve it.
    fn write_request(&mut self, request: Request) -> Result<u32, Trouble> {
        let offer = request.needs();
        self.offered(offer)?;
        self.number += 1;
        let line = encode(&Numbered { number: self.number, message: request }, MAX_REQUEST_BYTES)?;
        let until = Instant::now() + self.options.answer;
        match self.shell.write(&line, until, &self.stop) {
            Ok(()) => Ok(self.number),
            Err(_) if self.stop.asked() => Err(Trouble::Stopped),
            Err(_) => Err(self.ended_in_the_middle()),
        }
    }

    fn offered(&self, offer: Offer) -> Result<(), Trouble> {
        let Some(hello) = &self.hello else { return Err(Trouble::NotGreeted) };
        match &hello.trouble {
            _ if hello.has(offer) => Ok(()),
            Some(complaint) => Err(Trouble::Refused { complaint: complaint.clone() }),
            None => Err(Trouble::NotOffered { what: offer.name(), version: hello.version.clone() }),
        }
    }

    /// Waits for the reply with this number; replies to earlier requests are skipped.
    fn answer_to(&mut self, number: u32) -> Result<AgentReply, Trouble> {
        let until = Instant::now() + self.options.answer;
        loop {
            match self.receive_despite_stop(until) {
                Ok(message) => {
                    if let Some(answer) = self.answer_of(message, number)? {
                        return Ok(answer);
                    }
                }
                Err(Silence::TooLong) => return Err(self.silent()),
                Err(Silence::Stopped) => return Err(Trouble::Stopped),
            }
        }
    }

    /// Returns the reply in `message`, if it has this number.
    fn answer_of(&mut self, message: PeerMessage, number: u32) -> Result<Option<AgentReply>, Trouble> {
        match message {
            PeerMessage::Answer(answer) if answer.number < number => Ok(None),
            PeerMessage::Answer(answer) if answer.number == number => match answer.message {
                AgentReply::Refused(complaint) => Err(Trouble::Refused { complaint }),
                answer => Ok(Some(answer)),
            },
            PeerMessage::Broken(error) => Err(error.into()),
            PeerMessage::End => Err(self.ended_in_the_middle()),
            PeerMessage::Answer(_) | PeerMessage::Hello(_) | PeerMessage::Banner(_) => {
                Err(Trouble::OutOfTurn { why: "it replies to what was not asked".to_owned() })
            }
        }
    }

    /// Waits for the next message, until `until` or until a stop is requested.
    fn receive(&mut self, until: Instant) -> Result<PeerMessage, Silence> {
        loop {
            if self.stop.asked() {
                return Err(Silence::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left.min(LOOK)) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Disconnected) => return Ok(PeerMessage::End),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Silence::TooLong),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Waits like [`Self::receive`], but a stop only shortens the wait: what the far end learned is still wanted.
    fn receive_despite_stop(&mut self, until: Instant) -> Result<PeerMessage, Silence> {
        const AFTER_STOP: Duration = Duration::from_secs(2);
        let mut until = until;
        loop {
            if self.stop.asked() {
                until = until.min(Instant::now() + AFTER_STOP);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left.min(LOOK)) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Disconnected) => return Ok(PeerMessage::End),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Silence::TooLong),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Passes on what the far end prints before its hello.
    fn banner(&self, line: &str) {
        if !line.is_empty() {
            (self.relay)(line);
        }
    }

    fn unexpected(&self, answer: &AgentReply) -> Trouble {
        let kind = match answer {
            AgentReply::Ready(_) => "ready",
            AgentReply::Sight(_) => "a sight",
            AgentReply::Sent(_) => "what it sent",
            AgentReply::Absorbed(_) => "what it absorbed",
            AgentReply::Loaded(_) => "that it accepted packets",
            AgentReply::BatchProgress(_) => "what it sent of a batch",
            AgentReply::Clock(_) => "what time it is",
            AgentReply::Refused(_) => "a refusal",
        };
        Trouble::OutOfTurn { why: format!("it replies {kind} to another request") }
    }

    fn ended_early(&mut self) -> Trouble {
        let status = self.shell.wait_for_end();
        Trouble::EndedEarly { ended: self.shell.last_words(status), command: self.options.command.clone() }
    }

    fn ended_in_the_middle(&mut self) -> Trouble {
        let status = self.shell.wait_for_end();
        Trouble::EndedInTheMiddle { ended: self.shell.last_words(status) }
    }

    fn no_hello(&mut self, error: Option<FrameError>) -> Trouble {
        Trouble::NoHello(Box::new(NoHello {
            seconds: self.options.hello.as_secs_f64(),
            error,
            said: self.shell.last_line(),
            printed: self.shell.last_banner(),
            command: self.options.command.clone(),
        }))
    }

    fn silent(&mut self) -> Trouble {
        Trouble::Silent { seconds: self.options.answer.as_secs_f64(), said: self.shell.last_line() }
    }
}

/// A request for everything, on its way.
#[derive(Clone, Copy, Debug)]
pub struct Finishing(u32);

/// Why no message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    TooLong,
    Stopped,
}
