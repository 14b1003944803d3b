//! Network namespaces in a row, each a router but for its two ends, and a run of probes over them.

use std::{
    net::{IpAddr, Ipv4Addr},
    panic,
    sync::mpsc,
    thread,
};

use probe_user::{
    error::Failure,
    lab::Netns,
    model::{
        attach::Attach,
        request::{HostRole, RequestHandling, WatchRequest},
    },
    stop::StopSignal,
    traffic::{Prober, prober::ProbePlan},
    watch::{Watching, path_watch},
};

use crate::net::{answers, eventually, sh};

/// The nonce and the id of a run that is watched while others send.
const NONCE: u64 = 0x0bec_0bec_0bec_0bec;
const ID: u16 = 0x0bed;

/// Probes of such a run.
const PROBES: u16 = 3;

/// Namespaces in a row, from the sender to the target: `e1` of each is joined to `e0` of the next.
pub(crate) struct Row {
    places: Vec<Netns>,
}

impl Row {
    /// Makes a row of so many.
    pub(crate) fn of(places: u8) -> Self {
        let row = Self { places: (0..places).map(|_| Netns::new().expect("root can")).collect() };
        for place in &row.places {
            sh(place, "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0");
        }
        for (net, pair) in (0_u8..).zip(row.places.windows(2)) {
            let mut holder = pair[1].command("sleep").arg("60").spawn().expect("sleep is there");
            sh(
                &pair[0],
                &format!(
                    "ip link add e1 type veth peer name far && ip link set far netns {} name e0
                     ip addr add 10.{net}.1.1/24 dev e1 && ip link set e1 up && sysctl -qw net.ipv4.conf.e1.rp_filter=0
                     ip route replace default via 10.{net}.1.2",
                    holder.id()
                ),
            );
            sh(
                &pair[1],
                &format!(
                    "ip addr add 10.{net}.1.2/24 dev e0 && ip link set e0 up && sysctl -qw net.ipv4.conf.e0.rp_filter=0
                     for far in $(seq 0 {net}); do
                         [ $far = {net} ] || ip route add 10.$far.1.0/24 via 10.{net}.1.1
                     done"
                ),
            );
            holder.kill().expect("it is ours");
            holder.wait().expect("it ends");
        }
        let target = row.target();
        eventually("the way is there", || answers(row.sender(), &target));
        row
    }

    /// Returns how many they are.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Returns the first.
    pub(crate) fn sender(&self) -> &Netns {
        &self.places[0]
    }

    /// Returns the address of the last.
    pub(crate) fn target(&self) -> String {
        self.addresses().1.to_string()
    }

    fn addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        let last = u8::try_from(self.places.len() - 2).expect("a few");
        (Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, last, 1, 2))
    }

    /// Has the target drop requests.
    pub(crate) fn drop_at_the_target(&self) {
        let rules = "nft 'add table inet f; add chain inet f c { type filter hook input priority 0; }'
                     nft 'add rule inet f c icmp type echo-request drop'";
        sh(self.places.last().expect("a few"), rules);
    }

    /// Takes that back.
    pub(crate) fn drop_nothing(&self) {
        sh(self.places.last().expect("a few"), "nft flush ruleset");
    }

    /// Does `work` while a run over all of them is watched, whose probes have come through.
    pub(crate) fn while_watched<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let (watched, is_watched) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        let watch = move || -> Result<(), Failure> {
            let _watching = self.watched_here()?;
            // Both fail only if nobody waits any more.
            let _ = watched.send(());
            let _ = is_done.recv();
            Ok(())
        };
        thread::scope(|scope| {
            let watcher = scope.spawn(move || self.sender().run(watch).map_err(Failure::from)?);
            let worked = is_watched.recv().is_ok().then(work);
            drop(done);
            watcher.join().unwrap_or_else(|cause| panic::resume_unwind(cause))?;
            worked.expect("it was watched")
        })
    }

    fn watched_here(&self) -> Result<Box<dyn Watching>, Failure> {
        let (local, remote) = self.addresses();
        let mut watching = path_watch::start(&WatchRequest {
            nonce: NONCE,
            id: ID,
            probes: PROBES,
            local: local.into(),
            remote: remote.into(),
            interface: Some("e1".to_owned()),
            role: HostRole::Sender,
            attach: Attach::default(),
            trace_rules: false,
            everywhere: true,
            requests: RequestHandling::Pass,
            source_given: false,
            further: Vec::new(),
            tunnels: Vec::new(),
            numbered_from: None,
            sent_as: None,
            choosers: Default::default(),
        })?;
        let plan = ProbePlan { count: PROBES, ..ProbePlan::new((IpAddr::from(remote), 0).into(), ID, NONCE) };
        let mut prober = Prober::open(plan)?;
        let mut seen = 0;
        prober.run(&StopSignal::default(), |_| {
            seen = watching.look().map_or(0, |sight| 1 + sight.places.len());
            false
        });
        let seen = seen.max(1 + watching.look()?.places.len());
        if seen != self.places() {
            let what = format!("probes were seen in {seen} network namespaces of {}", self.places());
            return Err(Failure::new(what, "run it where the kernel's tracepoints can be attached"));
        }
        Ok(watching)
    }
}
