//! A simulated executor: it speaks the real protocol of sessions, keeps its lease, and "runs" attempts by waiting. It
//! follows executor/ in what matters for the promises: nothing starts without a lease, everything ends before the lease
//! does, lower terms are refused, and reports are sent again until they are acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meson_engine::ids::AttemptId;
use meson_engine::status::FailureClass;
use meson_proto::v1::session_request::Message as Said;
use meson_proto::v1::session_response::Message as Heard;
use meson_proto::v1::*;
use meson_raft::sabotage;
use meson_raft::sim::{random, random_in};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::history::Ran;
use crate::replica;
use crate::session::{self, Session};
use crate::world::{Host, World};

/// What it offers, in thousandths of a core; a step takes one core unless it says otherwise.
const CPUS_MILLI: u64 = 2_000;
/// What stops early, before the lease ends.
const MARGIN: Duration = Duration::from_millis(300);
const WELCOME_PATIENCE: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_millis(1_500);

/// The executor; clones share it.
#[derive(Clone)]
pub struct Executor {
    world: World,
    host: Host,
    kept: Arc<Mutex<Kept>>,
    news: Arc<Notify>,
}

/// What is on its disk, or lives on in its supervisors.
#[derive(Default)]
struct Kept {
    term: u64,
    lease_until: Option<Instant>,
    attempts: BTreeMap<String, Attempt>,
    outbox: BTreeMap<u64, Report>,
    reports: u64,
    /// Reports up to here were sent in this session.
    sent: u64,
    process: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Clone)]
struct Attempt {
    fence: u64,
    name: String,
    cpus_milli: u64,
    running: bool,
    /// Refused, or over.
    ended: bool,
}

/// How an attempt ends.
enum End {
    Well,
    Badly,
    CutShort(&'static str, FailureClass),
}

impl Executor {
    /// A new one, that runs.
    pub fn start(world: &World, host: Host) -> Self {
        let executor = Self { world: world.clone(), host, kept: Arc::default(), news: Arc::default() };
        executor.boot();
        tokio::task::spawn_local(executor.clone().watch_lease());
        executor
    }

    /// The process starts; its attempts may have lived on.
    pub fn boot(&self) {
        let process = tokio::task::spawn_local(self.clone().sessions());
        if let Some(before) = self.kept().process.replace(process) {
            before.abort();
        }
        self.world.note(format!("executor {} is up", self.host));
    }

    /// The process is killed; attempts live on.
    pub fn crash(&self) {
        self.world.note(format!("executor {} is killed", self.host));
        if let Some(process) = self.kept().process.take() {
            process.abort();
        }
    }

    /// The machine is switched off, and everything on it.
    pub fn cut_power(&self) {
        self.crash();
        self.end_all("machine_lost", FailureClass::Platform);
        self.kept().lease_until = None;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sessions(self) {
        let mut replica = random() as usize;
        loop {
            replica += 1;
            let replicas = self.world.replicas();
            let mut to = replicas[replica % replicas.len()];
            while let Some(leader) = self.session(to).await {
                to = leader;
            }
            tokio::time::sleep(Duration::from_millis(random_in(20..200))).await;
        }
    }

    /// One session; says where to go next if it was told.
    async fn session(&self, replica: Host) -> Option<Host> {
        let mut session = session::open(&self.world, self.host, replica).await?;
        let hello = SessionRequest { message: Some(Said::Hello(self.hello())) };
        session.outgoing.try_send(hello).ok()?;
        let welcome = tokio::time::timeout(WELCOME_PATIENCE, session.incoming.recv()).await.ok()??;
        match welcome.message? {
            Heard::Welcome(welcome) => {
                {
                    let mut kept = self.kept();
                    if welcome.term < kept.term {
                        return None;
                    }
                    kept.term = welcome.term;
                    kept.sent = 0;
                }
                self.world.note(format!("executor {} has a session with {replica}", self.host));
                self.serve(session, &welcome).await;
                None
            }
            Heard::Redirect(redirect) => replica::host_of(&redirect.leader_address),
            _ => None,
        }
    }

    fn hello(&self) -> Hello {
        let kept = self.kept();
        let known = |(id, attempt): (&String, &Attempt)| KnownAttempt {
            attempt_id: id.clone(),
            fence: attempt.fence,
            running: !attempt.ended,
        };
        Hello {
            executor_id: format!("executor-{}", self.host),
            incarnation: format!("{}", random()),
            hostname: "sim".into(),
            resources: Some(Resources {
                cpus_milli: CPUS_MILLI,
                mem_bytes: 1 << 40,
                disk_bytes: 1 << 40,
                ..Resources::default()
            }),
            kinds: vec!["noop".into()],
            attempts: kept.attempts.iter().map(known).collect(),
            ..Hello::default()
        }
    }

    async fn serve(&self, mut session: Session, welcome: &Welcome) {
        let mut tick = tokio::time::interval(Duration::from_millis(welcome.heartbeat_ms));
        let mut beats: BTreeMap<u64, Instant> = BTreeMap::new();
        let mut sequence = 0;
        let mut silent_until = Instant::now() + SILENCE;
        loop {
            self.send_reports(&session);
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    sequence += 1;
                    beats.insert(sequence, Instant::now());
                    let beat = Said::Heartbeat(Heartbeat { sequence, progress: Vec::new() });
                    let _ = session.outgoing.try_send(SessionRequest { message: Some(beat) });
                }
                heard = session.incoming.recv() => {
                    let Some(SessionResponse { message: Some(message) }) = heard else { return };
                    silent_until = Instant::now() + SILENCE;
                    match message {
                        Heard::HeartbeatAck(ack) => {
                            if let Some(sent) = beats.get(&ack.sequence) {
                                let until = *sent + Duration::from_millis(welcome.lease_ms);
                                let mut kept = self.kept();
                                kept.lease_until = kept.lease_until.max(Some(until));
                            }
                            beats = beats.split_off(&ack.sequence);
                        }
                        message => self.take(message),
                    }
                }
                () = self.news.notified() => {}
                () = tokio::time::sleep_until(silent_until) => return,
            }
        }
    }

    fn send_reports(&self, session: &Session) {
        let mut kept = self.kept();
        let unsent: Vec<Report> =
            kept.outbox.range(kept.sent + 1..).map(|(_, report)| report.clone()).collect();
        for report in unsent {
            let id = report.report_id;
            let message = SessionRequest { message: Some(Said::Report(report)) };
            if session.outgoing.try_send(message).is_err() {
                return;
            }
            kept.sent = id;
        }
    }

    fn take(&self, message: Heard) {
        match message {
            Heard::Launch(launch) => {
                let mut kept = self.kept();
                if launch.term >= kept.term && !kept.attempts.contains_key(&launch.attempt_id) {
                    kept.term = launch.term;
                    drop(kept);
                    self.launch(launch);
                }
            }
            Heard::Kill(kill) => {
                if kill.term >= self.kept().term {
                    self.kept().term = kill.term;
                    self.kill(&kill);
                }
            }
            Heard::ReportAck(ack) => {
                let mut kept = self.kept();
                let report = kept.outbox.remove(&ack.report_id);
                if let Some(report) = report.filter(|report| report.state() != AttemptState::Running) {
                    kept.attempts.remove(&report.attempt_id);
                }
            }
            Heard::Welcome(_) | Heard::Redirect(_) | Heard::HeartbeatAck(_) | Heard::Permit(_) => {}
        }
    }

    fn launch(&self, launch: Launch) {
        let name = launch.step.rsplit('/').next().unwrap_or_default().to_owned();
        let cpus_milli = launch.resources.unwrap_or_default().cpus_milli;
        let attempt = Attempt { fence: launch.fence, name, cpus_milli, running: false, ended: false };
        self.kept().attempts.insert(launch.attempt_id.clone(), attempt);
        tokio::task::spawn_local(self.clone().run(launch.attempt_id));
    }

    /// One attempt, from launch to end.
    async fn run(self, id: String) {
        while !self.is_leased() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let parsed: AttemptId = id.parse().expect("the simulation made this id");
        let Some(attempt) = self.kept().attempts.get(&id).filter(|attempt| !attempt.ended).cloned() else {
            return;
        };
        let ran = Ran {
            executor: self.host,
            name: attempt.name,
            cpus_milli: attempt.cpus_milli,
            ended: None,
            cut_short: false,
        };
        self.world.note(format!("executor {} starts {id}", self.host));
        let step = (parsed.run_id, parsed.node);
        self.world.history(|history| history.attempt_starts(step, parsed.attempt, ran, CPUS_MILLI));
        if let Some(attempt) = self.kept().attempts.get_mut(&id) {
            attempt.running = true;
        }
        self.report(&id, AttemptState::Running, None);
        let long = if random_in(0..5) == 0 { 8_000 } else { 1_000 };
        tokio::time::sleep(Duration::from_millis(random_in(20..long))).await;
        self.end(&id, if random_in(0..20) == 0 { End::Badly } else { End::Well });
    }

    /// Ends an attempt, once.
    fn end(&self, id: &str, end: End) {
        let was_running = {
            let mut kept = self.kept();
            let Some(attempt) = kept.attempts.get_mut(id).filter(|attempt| !attempt.ended) else { return };
            attempt.ended = true;
            std::mem::take(&mut attempt.running)
        };
        let (well, cut_short) = (matches!(end, End::Well), matches!(end, End::CutShort(..)));
        if was_running {
            self.world.note(format!("executor {} ends {id}: {well}", self.host));
            let parsed: AttemptId = id.parse().expect("the simulation made this id");
            let step = (parsed.run_id, parsed.node);
            self.world.history(|history| {
                history.attempt_ends(&step, parsed.attempt, well, cut_short);
                Ok(())
            });
        }
        match end {
            End::Well => self.report(id, AttemptState::Succeeded, None),
            End::Badly => self.report(id, AttemptState::Failed, Some(("exit", FailureClass::User))),
            End::CutShort(reason, class) => self.report(id, AttemptState::Failed, Some((reason, class))),
        }
    }

    fn kill(&self, kill: &Kill) {
        let fence = self.kept().attempts.get(&kill.attempt_id).map(|attempt| attempt.fence);
        match fence {
            None if kill.discard => {}
            None => self.report_gone(kill),
            Some(fence) if fence != kill.fence => {}
            Some(_) => {
                self.end(&kill.attempt_id, End::CutShort("killed", FailureClass::Cancelled));
                if kill.discard {
                    let mut kept = self.kept();
                    kept.attempts.remove(&kill.attempt_id);
                    kept.outbox.retain(|_, report| report.attempt_id != kill.attempt_id);
                }
            }
        }
    }

    fn report_gone(&self, kill: &Kill) {
        let mut kept = self.kept();
        // Asked again and again, it is answered once until that is acknowledged.
        if kept.outbox.values().any(|report| report.attempt_id == kill.attempt_id) {
            return;
        }
        let failure = failure("unknown_attempt", FailureClass::Platform);
        kept.push(&kill.attempt_id, kill.fence, AttemptState::Failed, Some(failure));
        self.news.notify_one();
    }

    fn report(&self, id: &str, state: AttemptState, why: Option<(&str, FailureClass)>) {
        let mut kept = self.kept();
        let fence = kept.attempts.get(id).map_or(0, |attempt| attempt.fence);
        kept.push(id, fence, state, why.map(|(reason, class)| failure(reason, class)));
        self.news.notify_one();
    }

    fn is_leased(&self) -> bool {
        if sabotage::without("lease") {
            return true;
        }
        self.kept().lease_until.is_some_and(|until| Instant::now() + MARGIN < until)
    }

    /// The supervisors: they end everything when the lease does, whether the executor lives or not.
    async fn watch_lease(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if !self.is_leased() {
                self.end_all("lease_expired", FailureClass::Platform);
            }
        }
    }

    fn end_all(&self, reason: &'static str, class: FailureClass) {
        let running: Vec<String> = {
            let kept = self.kept();
            kept.attempts.iter().filter(|(_, attempt)| attempt.running).map(|(id, _)| id.clone()).collect()
        };
        for id in running {
            self.end(&id, End::CutShort(reason, class));
        }
    }
}

impl Kept {
    fn push(&mut self, id: &str, fence: u64, state: AttemptState, failure: Option<Failure>) {
        self.reports += 1;
        let report = Report {
            report_id: self.reports,
            attempt_id: id.to_owned(),
            fence,
            state: state as i32,
            failure,
            log_complete: true,
            ..Report::default()
        };
        self.outbox.insert(self.reports, report);
    }
}

fn failure(reason: &str, class: FailureClass) -> Failure {
    Failure { class: class as i32, reason: reason.into(), message: String::new() }
}
