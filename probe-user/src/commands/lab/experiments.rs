//! Plays experiments between the lab's two hosts, over each IP version, watched at the firewall, into one report.

use std::{path::Path, sync::Arc, time::Duration};

use probe_ebpf::Family;

use super::{faults::by_command::agent_on_b, observer};
use crate::{
    commands::experiment::{document, fresh_ids},
    error::Failure,
    lab::{Nic, Topology, lessons, plan::LabHost},
    middlebox::{
        experiment::{
            Script,
            outcome::{self, EndNames},
            plan::{self, ExperimentPlan},
        },
        player::{Completion, Observer, Played, Player},
        timeline::EndAddresses,
    },
    model::{attach::Attach, request::WatchRequest},
    peer::{Peer, PeerOptions},
    report::experiment::Experiment,
    stop::StopSignal,
    watch::path_watch,
};

/// How long after the last packet arrivals still count; in the lab they take microseconds.
const LINGER: Duration = Duration::from_millis(250);

/// How many NICs a packet passes that is to stop by design: its sender's, and the first of the firewall.
const PASSED: usize = 2;

/// Whether a run was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// Everything was run.
    No,
    /// Some experiments were left out.
    Yes,
}

/// Callbacks for the progress of a run.
pub struct RunListener<'a> {
    /// Gets the lines that the far end prints besides its answers.
    pub relay: Arc<dyn Fn(&str) + Send + Sync>,
    /// Gets the name of the running experiment, the number of completed ones, and the total.
    pub progress: &'a (dyn Fn(&str, usize, usize) + Sync),
}

/// Plays each of `scripts` once over each IP version of `lab`, with fresh ids each time. A is the near end, and
/// `program` is B's agent. If `stop` is set, the report holds the runs that were completed until then, and a note.
///
/// # Errors
/// An end or the firewall cannot be watched.
pub fn run_all(
    lab: &Topology,
    program: &Path,
    scripts: &[Script],
    stop: &StopSignal,
    listener: &RunListener<'_>,
) -> Result<(Experiment, Interrupted), Failure> {
    let agent = agent_on_b(program, lab);
    lab.netns(LabHost::A).run(|| Trials { lab, stop }.run_all(&agent, scripts, listener))?
}

/// Runs in one lab, on a thread inside A.
struct Trials<'a> {
    lab: &'a Topology,
    stop: &'a StopSignal,
}

impl Trials<'_> {
    fn run_all(
        &self,
        agent: &str,
        scripts: &[Script],
        listener: &RunListener<'_>,
    ) -> Result<(Experiment, Interrupted), Failure> {
        let families = self.lab.families();
        let runs = scripts.iter().flat_map(|script| families.iter().map(move |family| (script, *family)));
        let all = scripts.len() * families.len();
        let (mut made, mut notes) = (Vec::new(), Vec::new());
        let mut player = None;
        for (script, family) in runs {
            (listener.progress)(&script.name, made.len(), all);
            match self.unless_stopped(self.run(&mut player, script, family, (agent, listener))) {
                Some(run) => made.push(run?),
                None => {
                    notes.push(format!("Interrupted after {} of {all} runs.", made.len()));
                    break;
                }
            }
        }
        if !families.contains(&Family::V6) {
            notes.push("This kernel has no IPv6: the experiments were run over IPv4 only.".into());
        }
        let interrupted = if made.len() < all { Interrupted::Yes } else { Interrupted::No };
        Ok((Experiment::of_lab(made, interrupted == Interrupted::Yes, notes), interrupted))
    }

    /// Discards the result of a run that was interrupted, even a failed one.
    fn unless_stopped(&self, run: Result<Option<Experiment>, Failure>) -> Option<Result<Experiment, Failure>> {
        match run {
            Err(_) if self.stop.asked() => None,
            Err(failure) => Some(Err(failure)),
            Ok(run) => run.map(Ok),
        }
    }

    /// Runs one experiment, or returns `None` if it was interrupted. All runs share one agent.
    fn run(
        &self,
        shared: &mut Option<Player>,
        script: &Script,
        family: Family,
        (agent, listener): (&str, &RunListener<'_>),
    ) -> Result<Option<Experiment>, Failure> {
        if self.stop.asked() {
            return Ok(None);
        }
        path_watch::read_ahead();
        let player = match shared {
            Some(player) => player,
            None => shared.insert(self.player(agent, listener)?),
        };
        player.ends = EndAddresses { near: vec![LabHost::A.address(family)], far: vec![LabHost::B.address(family)] };
        let script = Script { repeat: 1, ..script.clone() };
        let mut plan = plan::plan(&script, fresh_ids());
        plan.timeline.linger = LINGER;
        let [near, far] =
            [Nic::FwA, Nic::FwB].map(|nic| move |request: &WatchRequest| observer::start(self.lab, nic, request));
        let observers: [&Observer<'_>; 2] = [&near, &far];
        let played = player.play_past(&plan.timeline, &observers, &mut |_| ())?;
        Ok((played.whole == Completion::Yes).then(|| experiment(&script, &plan, &played, &player.ends)))
    }

    fn player(&self, agent: &str, listener: &RunListener<'_>) -> Result<Player, Failure> {
        let relay = Arc::clone(&listener.relay);
        let mut peer = Peer::start(PeerOptions::new(agent), self.stop, Arc::new(move |line: &str| relay(line)))?;
        peer.greet()?;
        Ok(Player {
            factory: path_watch::start,
            peer,
            interface: Nic::A.interface().to_owned(),
            attach: Attach::default(),
            ends: EndAddresses { near: Vec::new(), far: Vec::new() },
            stop: self.stop.clone(),
        })
    }
}

/// Describes what a run showed, and its lesson if every NIC counted what the design says.
fn experiment(script: &Script, plan: &ExperimentPlan, played: &Played, ends: &EndAddresses) -> Experiment {
    let names = EndNames { near: LabHost::A.name().into(), far: LabHost::B.name().into() };
    let outcome = outcome::judge(script, plan, &played.run, &names);
    let experiment = document(script, plan, &outcome, played, (ends, &names));
    let differences: Vec<String> = experiment.lines.iter().flat_map(|line| line.differences(PASSED)).collect();
    let as_expected = outcome.as_expected && differences.is_empty();
    let finding = match lessons::of(&script.name) {
        Some(lesson) if as_expected => lesson.to_owned(),
        _ if differences.is_empty() => outcome.finding,
        _ => format!("Not as designed: {}. {}", differences.join("; "), outcome.finding),
    };
    Experiment { finding, as_expected, ..experiment }
}
