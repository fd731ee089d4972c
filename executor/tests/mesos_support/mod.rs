//! A master and an agent of the stand-in as processes, and a framework that launches the real executor.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use meson_executor::task::proc;
use meson_mesos::resources::{Fixed, Resources, Wanted};
use meson_mesos::scheduler::{Accept, Config, Event, Scheduler, Signal, Signals, call};
use meson_mesos::v1::{
    CommandInfo, DurationInfo, Environment, ExecutorInfo, FrameworkInfo, KillPolicy, Offer, TaskInfo,
    TaskStatus, environment::Variable, executor_info,
};
use meson_proto::v1::framework_message::Message as Piece;
use meson_proto::v1::{FrameworkMessage, Launch, SessionResponse};
use prost::Message as _;

use crate::common::leader::{Leader, PATIENCE};

const EXECUTOR: &str = "warm";

/// A process that is killed with its test.
struct Process(Child, String);

impl Process {
    fn start(name: &str, arguments: &[String]) -> Self {
        // Beside our own binary, where the workspace's build puts all of them.
        let program = PathBuf::from(env!("CARGO_BIN_EXE_meson-executor")).with_file_name(name);
        assert!(program.exists(), "{} is missing: cargo build -p meson-mesos-standin", program.display());
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (to, lines) = mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        let beginning = format!("{name} listens on ");
        let address = loop {
            let line = lines.recv_timeout(PATIENCE).expect("it says where it listens");
            if let Some(address) = line.strip_prefix(&beginning) {
                break address.to_owned();
            }
        };
        Self(child, address)
    }

    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The cluster and its framework.
pub struct Cluster {
    dir: tempfile::TempDir,
    _master: Process,
    agent: Process,
    agent_arguments: Vec<String>,
    scheduler: Scheduler,
    signals: Signals,
    pub framework_id: String,
    offer: Offer,
    executor: ExecutorInfo,
}

impl Cluster {
    pub async fn start(endpoints: &str, flags: &[&str], agent_flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let own = |list: &[&str]| -> Vec<String> { list.iter().map(|text| (*text).to_owned()).collect() };
        let mut arguments = own(&["--listen", "127.0.0.1:0", "--allocation-interval", "0.1", "--work-dir"]);
        arguments.push(path("master"));
        arguments.extend(own(&["--agent-ping-timeout", "0.3", "--max-agent-ping-timeouts", "1000"]));
        let master = Process::start("standin-master", &arguments);
        let mut agent_arguments = own(&["--listen", "127.0.0.1:0", "--update-retry", "500ms", "--master"]);
        agent_arguments.extend([master.1.clone(), "--work-dir".to_owned(), path("agent")]);
        agent_arguments.extend(own(&["--executor-reregistration-timeout", "5secs"]));
        agent_arguments.extend(own(agent_flags));
        let agent = Process::start("standin-agent", &agent_arguments);
        let framework = FrameworkInfo {
            user: "root".to_owned(),
            name: "executor test".to_owned(),
            failover_timeout: Some(60.0),
            checkpoint: Some(true),
            ..FrameworkInfo::default()
        };
        let config = Config::new(master.1.parse().unwrap());
        let (scheduler, mut signals) = Scheduler::start(config, framework, vec![], None).unwrap();
        let framework_id = find(&mut signals, |signal| match signal {
            Signal::Subscribed(subscribed) => Some(subscribed.framework_id.to_string()),
            _ => None,
        })
        .await;
        let offer = find(&mut signals, |signal| match signal {
            Signal::Event(Event::Offers(offers)) => offers.into_iter().next(),
            _ => None,
        })
        .await;
        let executor = executor_info(endpoints, flags, &framework_id);
        Self {
            dir,
            _master: master,
            agent,
            agent_arguments,
            scheduler,
            signals,
            framework_id,
            offer,
            executor,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn agent_id(&self) -> String {
        self.offer.agent_id.value.clone()
    }

    pub async fn launch(&self, launch: &Launch) {
        self.launch_as(&launch.attempt_id, launch).await;
    }

    /// Launches on the first offer: one task for each cluster.
    pub async fn launch_as(&self, task_id: &str, launch: &Launch) {
        let wanted = Wanted::new().scalar("cpus", Fixed::of(0.5)).scalar("mem", Fixed::of(32.0));
        let resources = Resources::of(self.offer.resources.iter().cloned()).unwrap();
        let task = TaskInfo {
            name: "t".to_owned(),
            task_id: task_id.into(),
            agent_id: self.offer.agent_id.clone(),
            resources: resources.find(&wanted, "*").unwrap().into(),
            executor: Some(self.executor.clone()),
            data: Some(launch.encode_to_vec().into()),
            ..TaskInfo::default()
        };
        let accept = Accept::of(&self.offer).launch(vec![task]).unwrap();
        self.scheduler.call(accept.refuse(Duration::ZERO).build()).await.unwrap();
    }

    /// The next update of a task.
    pub async fn update(&mut self, task_id: &str) -> TaskStatus {
        self.update_with(task_id, None).await
    }

    /// The last update of a task.
    pub async fn last(&mut self, task_id: &str) -> TaskStatus {
        self.last_with(task_id, None).await
    }

    /// The last update, while a leader answers framework messages.
    pub async fn last_with(&mut self, task_id: &str, leader: Option<&Leader>) -> TaskStatus {
        loop {
            let status = self.update_with(task_id, leader).await;
            if status.state() != meson_mesos::v1::TaskState::TaskRunning {
                return status;
            }
        }
    }

    async fn update_with(&mut self, task_id: &str, leader: Option<&Leader>) -> TaskStatus {
        let mut said = 0;
        let next = async {
            loop {
                match self.signals.next().await.expect("the session goes on") {
                    Signal::Event(Event::Update(status)) => {
                        if let Some(acknowledge) = call::acknowledge(&status) {
                            self.scheduler.call(acknowledge).await.unwrap();
                        }
                        if status.task_id.value == task_id {
                            return status;
                        }
                    }
                    Signal::Event(Event::Message(message)) => {
                        self.answer(leader.expect("a leader"), &message.data, &mut said).await;
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.unwrap_or_else(|_| panic!("no update of {task_id}"))
    }

    async fn answer(&self, leader: &Leader, data: &[u8], said: &mut u64) {
        let message = FrameworkMessage::decode(data).unwrap();
        let Some(Piece::Request(request)) = message.message else { panic!("a request") };
        if message.sequence == 1 {
            *said = 0;
        }
        let Some(response) = leader.answer(request.message.unwrap()) else { return };
        *said += 1;
        let answer = FrameworkMessage {
            session_id: message.session_id,
            sequence: *said,
            message: Some(Piece::Response(SessionResponse { message: Some(response) })),
        };
        let (agent_id, executor_id) = (self.offer.agent_id.clone(), EXECUTOR.into());
        self.scheduler
            .call(call::message(executor_id, agent_id, answer.encode_to_vec().into()))
            .await
            .unwrap();
    }

    pub async fn kill(&self, task_id: &str, grace_ms: i64) {
        let grace_period = Some(DurationInfo { nanoseconds: grace_ms * 1_000_000 });
        let kill =
            call::kill(task_id.into(), Some(self.offer.agent_id.clone()), Some(KillPolicy { grace_period }));
        self.scheduler.call(kill).await.unwrap();
    }

    pub async fn shutdown(&self) {
        let shutdown = call::shutdown(EXECUTOR.into(), self.offer.agent_id.clone());
        self.scheduler.call(shutdown).await.unwrap();
    }

    pub fn kill_agent(&mut self) {
        self.agent.kill();
    }

    pub fn start_agent(&mut self) {
        self.agent = Process::start("standin-agent", &self.agent_arguments);
    }

    /// Living processes of an attempt in this cluster.
    pub fn processes(&self, attempt_id: &str) -> Vec<i32> {
        crate::common::process::processes_of(attempt_id, self.dir.path())
    }

    /// Living executors of this cluster.
    pub fn executors(&self) -> Vec<i32> {
        let mut pids = proc::with_environment("MESON_TEST_CLUSTER", &self.framework_id);
        pids.retain(|pid| proc::stat(*pid).is_some_and(|stat| stat.state != 'Z'));
        // A shell may stand between the agent and the executor, and supervisors have no such variable.
        pids.retain(|pid| {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("meson-executor"))
        });
        pids
    }

    pub fn terminate_executor(&self) {
        for pid in self.executors() {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM)
                .unwrap();
        }
    }

    pub fn kill_executor(&self) {
        proc::kill_hard(&self.executors());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.agent.kill();
        // Their supervisors end with them.
        self.kill_executor();
    }
}

fn executor_info(endpoints: &str, flags: &[&str], framework_id: &str) -> ExecutorInfo {
    let variable = |name: &str, value: &str| Variable {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..Variable::default()
    };
    let variables = vec![
        variable("MESON_ENDPOINTS", endpoints),
        variable("MESON_TEST_CLUSTER", framework_id),
        variable("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ];
    let program = env!("CARGO_BIN_EXE_meson-executor");
    let command = CommandInfo {
        value: Some(format!("exec {program} --mesos {}", flags.join(" "))),
        environment: Some(Environment { variables }),
        ..CommandInfo::default()
    };
    ExecutorInfo {
        r#type: Some(executor_info::Type::Custom.into()),
        executor_id: EXECUTOR.into(),
        framework_id: Some(framework_id.to_owned().into()),
        command: Some(command),
        ..ExecutorInfo::default()
    }
}

async fn find<T>(signals: &mut Signals, mut wanted: impl FnMut(Signal) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(signals.next().await.expect("the session goes on")) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("it comes in time")
}
