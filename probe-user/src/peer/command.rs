//! The near end: starts a command whose stdin and stdout reach an agent, talks to it, and takes it down again.

mod child;
mod deploy;
mod ears;
mod trouble;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::{Duration, Instant},
};

use self::{child::Shell, ears::PeerMessage};
use super::protocol::{
    AgentReply, Hello, MAX_REQUEST_BYTES, Numbered, Offer, Ready, Request, SendOrder,
    frame::{FrameError, encode},
};
use crate::{
    model::{
        request::WatchRequest,
        trace::{HostTrace, SenderTrace, Taken},
    },
    stop::{LOOK, StopSignal},
    traffic::volley::{Fired, PacketSpec},
};

pub use trouble::{NoHello, Trouble};

/// How the far end is reached.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// What `sh -c` runs.
    pub command: String,
    /// Whether the command is the start of one, for this very program to be taken over by.
    pub deploy: Deploy,
    /// The program that is copied: this one.
    pub program: PathBuf,
    /// How long the far end may take to say hello.
    pub hello: Duration,
    /// How long it may take for each answer.
    pub answer: Duration,
}

/// Whether this very program is copied to the far end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deploy {
    /// The command starts an agent that is there.
    #[default]
    No,
    /// The command runs what stands behind it there, as `ssh b sudo` does.
    Yes,
}

impl PeerOptions {
    /// A command that starts an agent, and the usual patience.
    pub fn new(command: impl Into<String>) -> Self {
        Self {
            command: command.into(),
            deploy: Deploy::No,
            // A link that leads to the running file also where it was replaced or removed since.
            program: PathBuf::from("/proc/self/exe"),
            hello: Duration::from_secs(15),
            answer: Duration::from_secs(10),
        }
    }
}

/// Where what the far end prints beside its answers goes, line by line: its stderr, and banners before its hello.
pub type Relay = Arc<dyn Fn(&str) + Send + Sync>;

/// A far end. Dropping it ends its command.
pub struct Peer {
    shell: Shell,
    ears: Receiver<PeerMessage>,
    wish: PeerOptions,
    stop: StopSignal,
    relay: Relay,
    hello: Option<Hello>,
    number: u32,
    looking: Option<(u32, Instant)>,
}

impl Peer {
    /// Starts the command. What it prints goes to `relay`. Every wait ends early when `stop` is asked for.
    ///
    /// # Errors
    /// Where not even a shell can be started.
    pub fn start(wish: PeerOptions, stop: &StopSignal, relay: Relay) -> Result<Self, Trouble> {
        let line = match wish.deploy {
            Deploy::No => wish.command.clone(),
            Deploy::Yes => format!("{} sh", wish.command),
        };
        let (shell, ears) = Shell::start(&line, Arc::clone(&relay))?;
        Ok(Self { shell, ears, wish, stop: stop.clone(), relay, hello: None, number: 0, looking: None })
    }

    /// Waits for the far end's hello, after taking this program over where that was wished for.
    ///
    /// # Errors
    /// Every way in which a command can be no agent, or one of another version.
    pub fn greet(&mut self) -> Result<&Hello, Trouble> {
        let mut until = Instant::now() + self.wish.hello;
        if self.wish.deploy == Deploy::Yes {
            deploy::take_over(self, until)?;
            until = Instant::now() + self.wish.hello;
        }
        let hello = loop {
            match self.hear(until) {
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

    /// Has the far end watch a run.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn watch(&mut self, request: WatchRequest) -> Result<Ready, Trouble> {
        match self.ask(Request::Watch(request))? {
            AgentReply::Ready(ready) => Ok(ready),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What the far end has seen so far, if an answer is there; asks for the next one, and does not wait.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn look(&mut self) -> Result<Option<HostTrace>, Trouble> {
        let mut sight = None;
        if let Some((number, since)) = self.looking {
            match self.ears.try_recv() {
                Ok(heard) => match self.answer_of(heard, number)? {
                    Some(AgentReply::Sight(seen)) => {
                        self.looking = None;
                        sight = Some(*seen);
                    }
                    Some(other) => return Err(self.unexpected(&other)),
                    None => {}
                },
                Err(TryRecvError::Empty) if since.elapsed() < self.wish.answer => {}
                Err(TryRecvError::Empty) => return Err(self.silent()),
                Err(TryRecvError::Disconnected) => return Err(self.ended_in_the_middle()),
            }
        }
        if self.looking.is_none() {
            self.looking = Some((self.say(Request::Look)?, Instant::now()));
        }
        Ok(sight)
    }

    /// What the far end has seen until now, without what it would look up; waits for it.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn see(&mut self) -> Result<HostTrace, Trouble> {
        match self.ask(Request::Look)? {
            AgentReply::Sight(sight) => Ok(*sight),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Asks for all that the far end saw; [`Peer::finished`] waits for it.
    ///
    /// # Errors
    /// Why it cannot be talked to.
    pub fn finish(&mut self) -> Result<Finishing, Trouble> {
        Ok(Finishing(self.say(Request::Finish)?))
    }

    /// All that the far end saw. It detaches then.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn finished(&mut self, asked: Finishing) -> Result<HostTrace, Trouble> {
        match self.answer_to(asked.0)? {
            AgentReply::Sight(sight) => Ok(*sight),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Has the far end send echo packets to this one.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn send(&mut self, order: SendOrder) -> Result<SenderTrace, Trouble> {
        match self.ask(Request::Send(order))? {
            AgentReply::Sent(sent) => Ok(sent),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Requests that the far end absorbed and has not told yet.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn absorbed(&mut self) -> Result<Taken, Trouble> {
        match self.ask(Request::Absorbed)? {
            AgentReply::Absorbed(taken) => Ok(taken),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Has the far end send a volley to this one, and does not wait for it; says how many shots it took on.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn volley(&mut self, shots: Vec<PacketSpec>) -> Result<u32, Trouble> {
        match self.ask(Request::Volley(shots))? {
            AgentReply::Loaded(count) => Ok(count),
            other => Err(self.unexpected(&other)),
        }
    }

    /// What became of the far end's shots that it has not told yet.
    ///
    /// # Errors
    /// What the far end complains of, or why it cannot be talked to.
    pub fn fired(&mut self) -> Result<Fired, Trouble> {
        match self.ask(Request::Fired)? {
            AgentReply::Fired(fired) => Ok(fired),
            other => Err(self.unexpected(&other)),
        }
    }

    fn ask(&mut self, request: Request) -> Result<AgentReply, Trouble> {
        // The answer to a look that is on its way is passed over below.
        self.looking = None;
        let number = self.say(request)?;
        self.answer_to(number)
    }

    /// Says it, if the far end offered to hear it.
    fn say(&mut self, request: Request) -> Result<u32, Trouble> {
        let offer = request.needs();
        self.offered(offer)?;
        self.number += 1;
        let line = encode(&Numbered { number: self.number, message: request }, MAX_REQUEST_BYTES)?;
        let until = Instant::now() + self.wish.answer;
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

    /// The answer with this number; those to earlier questions are passed over.
    fn answer_to(&mut self, number: u32) -> Result<AgentReply, Trouble> {
        let until = Instant::now() + self.wish.answer;
        loop {
            match self.hear_in_any_case(until) {
                Ok(heard) => {
                    if let Some(answer) = self.answer_of(heard, number)? {
                        return Ok(answer);
                    }
                }
                Err(Silence::TooLong) => return Err(self.silent()),
                Err(Silence::Stopped) => return Err(Trouble::Stopped),
            }
        }
    }

    /// The answer in what was heard, if it has this number.
    fn answer_of(&mut self, heard: PeerMessage, number: u32) -> Result<Option<AgentReply>, Trouble> {
        match heard {
            PeerMessage::Answer(answer) if answer.number < number => Ok(None),
            PeerMessage::Answer(answer) if answer.number == number => match answer.message {
                AgentReply::Refused(complaint) => Err(Trouble::Refused { complaint }),
                answer => Ok(Some(answer)),
            },
            PeerMessage::Broken(error) => Err(error.into()),
            PeerMessage::End => Err(self.ended_in_the_middle()),
            PeerMessage::Answer(_) | PeerMessage::Hello(_) | PeerMessage::Banner(_) => {
                Err(Trouble::OutOfTurn { why: "it answers what was not asked".to_owned() })
            }
        }
    }

    /// What comes next, until `until` or until a stop is asked for.
    fn hear(&mut self, until: Instant) -> Result<PeerMessage, Silence> {
        loop {
            if self.stop.asked() {
                return Err(Silence::Stopped);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.ears.recv_timeout(left.min(LOOK)) {
                Ok(heard) => return Ok(heard),
                Err(RecvTimeoutError::Disconnected) => return Ok(PeerMessage::End),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Silence::TooLong),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// The same, but a stop only makes the wait short: what was learned is still wanted.
    fn hear_in_any_case(&mut self, until: Instant) -> Result<PeerMessage, Silence> {
        const AFTER_STOP: Duration = Duration::from_secs(2);
        let mut until = until;
        loop {
            if self.stop.asked() {
                until = until.min(Instant::now() + AFTER_STOP);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.ears.recv_timeout(left.min(LOOK)) {
                Ok(heard) => return Ok(heard),
                Err(RecvTimeoutError::Disconnected) => return Ok(PeerMessage::End),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Silence::TooLong),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Passes on what the far end prints before it speaks.
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
            AgentReply::Loaded(_) => "that it took shots on",
            AgentReply::Fired(_) => "what it fired",
            AgentReply::Refused(_) => "a refusal",
        };
        Trouble::OutOfTurn { why: format!("it answers {kind} to another question") }
    }

    fn ended_early(&mut self) -> Trouble {
        let status = self.shell.wait_for_end();
        Trouble::EndedEarly { ended: self.shell.last_words(status), command: self.wish.command.clone() }
    }

    fn ended_in_the_middle(&mut self) -> Trouble {
        let status = self.shell.wait_for_end();
        Trouble::EndedInTheMiddle { ended: self.shell.last_words(status) }
    }

    fn no_hello(&mut self, error: Option<FrameError>) -> Trouble {
        Trouble::NoHello(Box::new(NoHello {
            seconds: self.wish.hello.as_secs_f64(),
            error,
            said: self.shell.last_line(),
            printed: self.shell.last_banner(),
            command: self.wish.command.clone(),
        }))
    }

    fn silent(&mut self) -> Trouble {
        Trouble::Silent { seconds: self.wish.answer.as_secs_f64(), said: self.shell.last_line() }
    }
}

/// A question for everything, on its way.
#[derive(Clone, Copy, Debug)]
pub struct Finishing(u32);

/// Why nothing was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    TooLong,
    Stopped,
}
