//! The far end: serves one controller over an input and an output, watches for it, and ends when the input ends.
//!
//! It only observes, reports what it saw, keeps the run's own requests from its kernel if it is asked to, and sends echo
//! packets from its own addresses to the controller's.

mod batch;
mod place;
mod sending;

use std::{
    io::{Read, Write},
    net::IpAddr,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use super::protocol::{
    AgentReply, Complaint, Hello, MAX_ANSWER_BYTES, MAX_REQUEST_BYTES, Numbered, Ready, Request,
    frame::{FrameError, Lines, decode, encode},
};
use crate::{
    clock::monotonic_ns,
    error::{Failure, Mend},
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling, WatchRequest},
        trace::{HopTrace, HostTrace, Taken},
    },
    peer::route::{addresses, own_addresses},
    stop::{LOOK, StopSignal},
    traffic::batch::{BatchProgress, PacketSender, PacketSpec},
    watch::{Factory, Watching},
};

/// A controller that sends nothing for this long is gone, even if its connection has not noticed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The least time between two replies: a controller that asks faster waits.
const PACE: Duration = Duration::from_millis(2);

/// The setup of an agent before its controller speaks.
#[derive(Clone, Debug)]
pub struct AgentSetup {
    /// Its first message.
    pub hello: Hello,
    /// The interface to watch, whatever the route says.
    pub interface: Option<String>,
    /// How to attach to it.
    pub attach: Attach,
    /// Makes what watches.
    pub factory: Factory,
}

/// Why an agent gave up.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The input does not come from a controller.
    #[error("the controller sent something that is not a request: {0}")]
    Garbage(#[from] FrameError),
    /// Nothing came for too long.
    #[error("the controller sent nothing for {} seconds", PATIENCE.as_secs())]
    Silence,
    /// The output cannot be written to.
    #[error("cannot write to the controller")]
    Output(#[source] std::io::Error),
}

impl Mend for AgentError {
    fn fix(&self) -> String {
        "`probe agent` is started by `probe diagnose TARGET --peer CMD`, with the same version on both ends".to_owned()
    }
}

/// What the input thread reports.
enum Input {
    Line(Vec<u8>),
    Broken(FrameError),
    End,
}

impl AgentSetup {
    /// Serves the controller until the input ends, which is the normal end, or `stop` is requested. Whatever it attached is
    /// detached when this returns.
    ///
    /// # Errors
    /// If the input is garbage, ends in the middle of a message or stays silent, or nobody reads the replies.
    pub fn serve(
        &self,
        input: impl Read + Send + 'static,
        mut output: impl Write,
        stop: &StopSignal,
    ) -> Result<(), AgentError> {
        write(&mut output, &self.hello.line())?;
        let inputs = listen(input, stop.clone());
        let mut session =
            Session { agent: self, stop, request: None, watching: None, finished: None, sender: None, sent: 0 };
        let mut last_input = Instant::now();
        loop {
            let next = inputs.recv_timeout(session.rest());
            session.answer_requests();
            match next {
                Ok(Input::Line(line)) => {
                    last_input = Instant::now();
                    let request = decode::<Request>(&line)?;
                    let message = session.answer(request.message);
                    write(&mut output, &fit(Numbered { number: request.number, message }))?;
                    session.finished = None;
                    thread::sleep(PACE.saturating_sub(last_input.elapsed()));
                }
                Ok(Input::Broken(error)) => return Err(error.into()),
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if stop.asked() => return Ok(()),
                Err(RecvTimeoutError::Timeout) if last_input.elapsed() > PATIENCE => return Err(AgentError::Silence),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

fn write(output: &mut impl Write, line: &[u8]) -> Result<(), AgentError> {
    output.write_all(line).and_then(|()| output.flush()).map_err(AgentError::Output)
}

/// Reads lines on a thread of its own, so that the end of the input is noticed while packets are being sent.
fn listen(input: impl Read + Send + 'static, stop: StopSignal) -> Receiver<Input> {
    // A controller that asks without waiting for replies has to wait.
    let (sender, receiver) = mpsc::sync_channel(2);
    thread::spawn(move || {
        let last = read_lines(input, &sender);
        let _ = sender.send(last);
        stop.ask();
    });
    receiver
}

/// Passes lines on until there are no more, and returns why.
fn read_lines(mut input: impl Read, to: &SyncSender<Input>) -> Input {
    let mut lines = Lines::new(MAX_REQUEST_BYTES);
    let mut bytes = [0; 4096];
    loop {
        loop {
            match lines.next_line() {
                Ok(Some(line)) => {
                    if to.send(Input::Line(line)).is_err() {
                        return Input::End;
                    }
                }
                Ok(None) => break,
                Err(error) => return Input::Broken(error),
            }
        }
        match input.read(&mut bytes) {
            Ok(0) => return lines.finish().map_or_else(Input::Broken, |()| Input::End),
            Ok(length) => lines.push(&bytes[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Input::End,
        }
    }
}

/// One controller's session.
struct Session<'a> {
    agent: &'a AgentSetup,
    stop: &'a StopSignal,
    request: Option<WatchRequest>,
    watching: Option<Box<dyn Watching>>,
    /// The watch that has reported everything; detaching takes longer than the controller needs to wait.
    finished: Option<Box<dyn Watching>>,
    sender: Option<PacketSender>,
    sent: u32,
}

/// How long an agent that replies to requests itself rests between two checks for them.
const ANSWER_REST: Duration = Duration::from_millis(1);

impl Session<'_> {
    /// Returns how long to wait for the controller before this session has something to do by itself.
    fn rest(&self) -> Duration {
        if self.answers() { ANSWER_REST } else { LOOK }
    }

    /// Reports whether this agent replies to the run's requests itself.
    fn answers(&self) -> bool {
        let asked = self.request.as_ref().is_some_and(|request| request.requests == RequestHandling::AnsweredByAgent);
        asked && self.watching.is_some()
    }

    /// Replies to requests that were kept from the kernel, if it is asked to.
    fn answer_requests(&mut self) {
        if !self.answers() {
            return;
        }
        let (Some(request), Some(watching)) = (&self.request, &mut self.watching) else { return };
        let Ok(taken) = watching.absorbed() else { return };
        let room = (sending::SESSION_PACKETS - self.sent) as usize;
        let replies = batch::replies(&taken.packets[..taken.packets.len().min(room)], request.nonce);
        self.sent += u32::try_from(replies.len()).unwrap_or(u32::MAX);
        if let Some(sender) = self.sender.as_ref().filter(|_| !replies.is_empty()) {
            sender.send(replies);
        }
    }

    fn answer(&mut self, request: Request) -> AgentReply {
        let offer = request.needs();
        if !self.agent.hello.has(offer) {
            let what = offer.name();
            return refusal(&Failure::new(format!("this agent did not offer to {what}"), self.reason()));
        }
        let answered = match request {
            Request::Watch(request) => self.watch(&request),
            Request::Look => self.look(),
            Request::Finish => self.finish(),
            Request::Send(order) => self.send(&order),
            Request::Absorbed => self.absorbed(),
            Request::Batch(packets) => self.send_batch(packets),
            Request::BatchProgress => self.progress(),
            Request::Clock => Ok(AgentReply::Clock(monotonic_ns())),
        };
        answered.unwrap_or_else(|failure| refusal(&failure))
    }

    fn reason(&self) -> String {
        self.agent.hello.trouble.as_ref().map(|trouble| trouble.fix.clone()).unwrap_or_default()
    }

    fn watch(&mut self, request: &WatchRequest) -> Result<AgentReply, Failure> {
        if self.watching.is_some() {
            return Err(Failure::new("this agent watches one run at a time", "finish that one first"));
        }
        // What the previous run attached to the NIC must be detached first.
        (self.finished, self.sender, self.sent) = (None, None, 0);
        let between = request.role == HostRole::Router;
        let interface = if between { None } else { place::interface(request, self.agent.interface.as_deref())? };
        let request = WatchRequest { interface, attach: self.agent.attach, ..request.clone() };
        if request.requests == RequestHandling::AnsweredByAgent {
            // Before requests are kept from the kernel: otherwise nobody would reply.
            self.sender = Some(open_sender(&request)?);
        }
        let mut watching = (self.agent.factory)(&request)?;
        let first = watching.look()?;
        self.watching = Some(watching);
        let addresses = match &request.interface {
            _ if between => own_addresses(request.remote),
            Some(name) => addresses(name, request.local),
            None => Vec::new(),
        };
        self.request = Some(request);
        Ok(AgentReply::Ready(ready(first, addresses)))
    }

    fn look(&mut self) -> Result<AgentReply, Failure> {
        let watching = self.watching.as_mut().ok_or_else(not_watching)?;
        Ok(AgentReply::Sight(Box::new(watching.look()?)))
    }

    fn finish(&mut self) -> Result<AgentReply, Failure> {
        let watching = self.finished.insert(self.watching.take().ok_or_else(not_watching)?);
        // That makes the kernel ask for a neighbour, and a host in between must send nothing.
        if self.request.as_ref().is_none_or(|request| request.role != HostRole::Router) {
            watching.look_for_neighbours();
        }
        Ok(AgentReply::Sight(Box::new(watching.finish()?)))
    }

    fn send(&mut self, order: &super::protocol::SendOrder) -> Result<AgentReply, Failure> {
        let pair = self.sending_pair()?;
        let sent = sending::send(pair, order, self.sent, self.stop)?;
        self.sent += u32::from(order.count);
        Ok(AgentReply::Sent(sent))
    }

    fn absorbed(&mut self) -> Result<AgentReply, Failure> {
        let watching = self.watching.as_mut().ok_or_else(not_watching)?;
        if self.request.as_ref().is_some_and(|request| request.requests == RequestHandling::AnsweredByAgent) {
            return Ok(AgentReply::Absorbed(Taken::default()));
        }
        Ok(AgentReply::Absorbed(watching.absorbed()?))
    }

    /// Returns the watch whose pair of addresses is the one between which this agent may send.
    fn sending_pair(&self) -> Result<&WatchRequest, Failure> {
        let pair = self.request.as_ref().ok_or_else(not_watching)?;
        if pair.role == HostRole::Router {
            return Err(Failure::new("this agent watches a host in between, and sends nothing", "let an end send"));
        }
        Ok(pair)
    }

    fn send_batch(&mut self, packets: Vec<PacketSpec>) -> Result<AgentReply, Failure> {
        self.sending_pair()?;
        let pair = self.request.as_ref().ok_or_else(not_watching)?;
        let watching = self.watching.as_mut().ok_or_else(not_watching)?;
        let limits = batch::Limits { pair, senders: batch::senders(&watching.look()?) };
        let packets = limits.checked(packets, self.sent, sending::SESSION_PACKETS)?;
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => open_sender(pair)?,
        };
        let count = u32::try_from(packets.len()).unwrap_or(u32::MAX);
        self.sender.insert(sender).send(packets);
        self.sent += count;
        Ok(AgentReply::Loaded(count))
    }

    fn progress(&self) -> Result<AgentReply, Failure> {
        self.request.as_ref().ok_or_else(not_watching)?;
        let progress = self.sender.as_ref().map_or_else(BatchProgress::default, PacketSender::progress);
        Ok(AgentReply::BatchProgress(progress))
    }
}

fn open_sender(pair: &WatchRequest) -> Result<PacketSender, Failure> {
    Ok(PacketSender::open(pair.interface.as_deref(), batch::PACE)?)
}

fn not_watching() -> Failure {
    Failure::new("this agent is not watching", "ask it to watch first")
}

fn refusal(failure: &Failure) -> AgentReply {
    AgentReply::Refused(Complaint { error: failure.error.clone(), fix: failure.fix.clone() })
}

fn ready(sight: HostTrace, addresses: Vec<IpAddr>) -> Ready {
    let blind = sight.hops.into_iter().filter_map(|(hop, trace)| match trace {
        HopTrace::Blind { why } => Some((hop, why)),
        HopTrace::Watched { .. } => None,
    });
    Ready { host: sight.host, blind: blind.collect(), addresses }
}

/// Encodes a reply as a line. If a host trace is too long, the drops of packets that are not probes are left out first,
/// then others; what was left out is counted as lost events.
fn fit(mut answer: Numbered<AgentReply>) -> Vec<u8> {
    let number = answer.number;
    loop {
        if let Ok(line) = encode(&answer, MAX_ANSWER_BYTES) {
            return line;
        }
        let shorter = match &mut answer.message {
            AgentReply::Sight(sight) if !sight.drops.is_empty() => shorten(sight),
            _ => false,
        };
        if !shorter {
            let failure =
                Failure::new(format!("the reply is longer than {MAX_ANSWER_BYTES} bytes"), "use fewer probes");
            answer = Numbered { number, message: refusal(&failure) };
        }
    }
}

fn shorten(sight: &mut HostTrace) -> bool {
    let before = sight.drops.len();
    sight.drops.retain(|drop| drop.probe.is_some());
    if sight.drops.len() == before {
        sight.drops.truncate(before / 2);
    }
    sight.accounting.events_lost += (before - sight.drops.len()) as u64;
    true
}

#[cfg(test)]
mod tests;
