//! Starts masters and agents of the stand-in as processes, and speaks to them with a scheduler made of plain sockets.

#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on must fail")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// How long a test waits for what must happen.
pub const WAIT: Duration = Duration::from_secs(30);

/// A process that is killed with its test.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// Starts a program; what it says on standard error is kept in a file.
    pub fn start(program: &str, arguments: &[String], log: &Path) -> Process {
        let mut child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log"))
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let (to, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Process { child, lines }
    }

    /// The rest of the next line that begins like this.
    pub fn line(&self, beginning: &str) -> String {
        let deadline = Instant::now() + WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line `{beginning}…`"));
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    /// Ends it like `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One master and its agents, in a directory of their own.
pub struct Cluster {
    /// Where everything lies.
    pub dir: tempfile::TempDir,
    /// Masters with their addresses.
    pub masters: Vec<(Process, String)>,
    /// Agents with their addresses, ids and settings.
    pub agents: Vec<Agent>,
}

/// An agent.
pub struct Agent {
    /// Its process.
    pub process: Process,
    /// Where it listens.
    pub address: String,
    /// Its id.
    pub id: String,
    arguments: Vec<String>,
    log: PathBuf,
}

impl Cluster {
    /// A master with short times, and more settings.
    pub fn new(more: &[&str]) -> Cluster {
        let mut cluster = Cluster {
            dir: tempfile::tempdir().expect("a directory"),
            masters: Vec::new(),
            agents: Vec::new(),
        };
        cluster.add_master(more);
        cluster
    }

    /// One more master in the same election.
    pub fn add_master(&mut self, more: &[&str]) -> String {
        let mut arguments = own(&["--listen", "127.0.0.1:0", "--heartbeat-interval", "0.5"]);
        arguments.extend(own(&["--allocation-interval", "0.1", "--agent-ping-timeout", "0.3"]));
        arguments.extend(["--work-dir".to_owned(), self.path("masters")]);
        arguments.extend(own(more));
        let log = self.dir.path().join("master.log");
        let process = Process::start(env!("CARGO_BIN_EXE_standin-master"), &arguments, &log);
        let address = process.line("standin-master listens on ");
        self.masters.push((process, address.clone()));
        if self.masters.len() == 1 {
            until("a leader", || get(&address, "/standin/leader")["leading"] == true);
        }
        address
    }

    /// One more agent, registered.
    pub fn add_agent(&mut self, more: &[&str]) -> String {
        let masters: Vec<&str> = self.masters.iter().map(|(_, address)| address.as_str()).collect();
        let number = self.agents.len();
        let mut arguments = own(&["--listen", "127.0.0.1:0", "--update-retry", "500ms"]);
        arguments.extend(["--master".to_owned(), masters.join(",")]);
        arguments.extend(["--hostname".to_owned(), format!("agent-{number}")]);
        arguments.extend(["--work-dir".to_owned(), self.path(&format!("agent-{number}"))]);
        arguments.extend(own(more));
        let log = self.dir.path().join(format!("agent-{number}.log"));
        let process = Process::start(env!("CARGO_BIN_EXE_standin-agent"), &arguments, &log);
        let address = process.line("standin-agent listens on ");
        let mut id = String::new();
        until("a registered agent", || {
            get(&address, "/standin/state")["agent_id"].as_str().unwrap().clone_into(&mut id);
            !id.is_empty()
        });
        self.agents.push(Agent { process, address, id: id.clone(), arguments, log });
        id
    }

    /// Starts an agent's process again, which was killed.
    pub fn start_agent(&mut self, number: usize) {
        let agent = &mut self.agents[number];
        agent.process = Process::start(env!("CARGO_BIN_EXE_standin-agent"), &agent.arguments, &agent.log);
        agent.process.line("standin-agent listens on ");
    }

    /// Address of the first master.
    pub fn master(&self) -> &str {
        &self.masters[0].1
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_string_lossy().into_owned()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its head, lower case.
    pub head: String,
    /// Its body.
    pub body: String,
}

/// Sends a request as written and takes the whole answer.
pub fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut stream = send(address, method, path, headers, body);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Answer {
        status: head.split_whitespace().nth(1).expect("a status").parse().expect("a number"),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let mut head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).expect("sent");
    stream.write_all(body).expect("sent");
    stream
}

/// Posts JSON.
pub fn post(address: &str, path: &str, body: &Value) -> Answer {
    request(address, "POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

/// Gets JSON.
pub fn get(address: &str, path: &str) -> Value {
    serde_json::from_str(&request(address, "GET", path, &[], b"").body).expect("JSON")
}

/// Waits for something to come true.
pub fn until(what: &str, mut comes_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !comes_true() {
        assert!(Instant::now() < deadline, "no {what} within {WAIT:?}");
        thread::sleep(Duration::from_millis(20)); // tidy: allow sleep: other processes are waited for by asking them
    }
}

/// A scheduler's subscription.
pub struct Scheduler {
    /// The master that it subscribed with.
    pub master: String,
    /// Its stream.
    pub stream_id: String,
    /// Its framework; empty until subscribed.
    pub framework_id: String,
    events: Receiver<Value>,
    socket: TcpStream,
}

/// A framework's information as most tests want it.
pub fn framework(capabilities: &[&str]) -> Value {
    let capabilities: Vec<Value> = capabilities.iter().map(|name| json!({ "type": name })).collect();
    json!({ "user": "root", "name": "test", "checkpoint": true, "failover_timeout": 60.0, "capabilities": capabilities })
}

impl Scheduler {
    /// Subscribes and takes the first event.
    pub fn subscribe(master: &str, info: &Value) -> Scheduler {
        let mut scheduler = Scheduler::open(master, info);
        let subscribed = scheduler.next("SUBSCRIBED");
        scheduler.framework_id = text(&subscribed["subscribed"]["framework_id"]["value"]);
        scheduler
    }

    /// Subscribes and leaves all events in the stream.
    pub fn open(master: &str, info: &Value) -> Scheduler {
        let mut call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } });
        if !info["id"].is_null() {
            call["framework_id"] = info["id"].clone();
        }
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let socket = send(master, "POST", "/api/v1/scheduler", &headers, call.to_string().as_bytes());
        let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
        let mut stream_id = String::new();
        let mut head = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            if let Some((name, value)) = line.split_once(':').filter(|(name, _)| *name == "mesos-stream-id") {
                assert!(!name.is_empty());
                value.trim().clone_into(&mut stream_id);
            }
            head += &line;
            if line == "\r\n" || line.is_empty() {
                break;
            }
        }
        assert!(head.contains("200 OK"), "{head}");
        let (to, events) = channel();
        thread::spawn(move || {
            while let Some(event) = record(&mut reader) {
                if to.send(event).is_err() {
                    return;
                }
            }
        });
        Scheduler { master: master.to_owned(), stream_id, framework_id: String::new(), events, socket }
    }

    /// The next event.
    pub fn any(&self) -> Value {
        self.events.recv_timeout(WAIT).expect("an event in time")
    }

    /// The next event of a type; others are skipped.
    pub fn next(&self, kind: &str) -> Value {
        self.next_where(kind, |_| true)
    }

    /// The next event of a type that fits.
    pub fn next_where(&self, kind: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event =
                self.events.recv_timeout(left).unwrap_or_else(|_| panic!("no {kind} within {WAIT:?}"));
            if event["type"] == kind && fits(&event) {
                return event;
            }
        }
    }

    /// The next status of a task in a state. Nothing is acknowledged.
    pub fn status(&self, task: &str, state: &str) -> Value {
        let fits = |event: &Value| {
            let status = &event["update"]["status"];
            status["task_id"]["value"] == task && status["state"] == state
        };
        self.next_where("UPDATE", fits)["update"]["status"].clone()
    }

    /// The next answer to a reconciliation of a task in a state.
    pub fn reconciled(&self, task: &str, state: &str) {
        self.next_where("UPDATE", |event| {
            let status = &event["update"]["status"];
            let is_it = status["task_id"]["value"] == task && status["state"] == state;
            is_it && status["reason"] == "REASON_RECONCILIATION" && status["uuid"].is_null()
        });
    }

    /// The next status of a task in a state; it and all before it are acknowledged.
    pub fn status_acknowledged(&self, task: &str, state: &str) -> Value {
        loop {
            let status = self.next("UPDATE")["update"]["status"].clone();
            if !status["uuid"].is_null() {
                self.acknowledge(&status);
            }
            if status["task_id"]["value"] == task && status["state"] == state {
                return status;
            }
        }
    }

    /// All events within a time.
    pub fn events_within(&self, time: Duration) -> Vec<Value> {
        let deadline = Instant::now() + time;
        let mut events = Vec::new();
        while let Ok(event) = self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            events.push(event);
        }
        events
    }

    /// Whether the master ended the stream, after its last event.
    pub fn is_closed(&self) -> bool {
        let deadline = Instant::now() + WAIT;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return true,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Goes away without a word.
    pub fn disconnect(self) {
        self.socket.shutdown(std::net::Shutdown::Both).expect("an open socket");
    }

    /// An offer of an agent, or of any.
    pub fn offer(&self, agent: Option<&str>) -> Value {
        let of = |offer: &&Value| agent.is_none_or(|agent| offer["agent_id"]["value"] == agent);
        let event = self.next_where("OFFERS", |event| offers(event).iter().any(|offer| of(&offer)));
        offers(&event).iter().find(of).expect("it was found").clone()
    }

    /// Makes a call and takes the answer.
    pub fn call(&self, kind: &str, body: Value) -> Answer {
        let mut call = json!({ "type": kind, "framework_id": { "value": self.framework_id } });
        call[kind.to_lowercase()] = body;
        let headers = [("Content-Type", "application/json"), ("Mesos-Stream-Id", self.stream_id.as_str())];
        request(&self.master, "POST", "/api/v1/scheduler", &headers, call.to_string().as_bytes())
    }

    /// Makes a call that must be accepted.
    pub fn accepted(&self, kind: &str, body: Value) {
        let answer = self.call(kind, body);
        assert_eq!(answer.status, 202, "{kind}: {}", answer.body);
    }

    /// Launches tasks on one offer.
    pub fn launch(&self, offer: &Value, tasks: &[Value]) {
        let launch = json!({ "type": "LAUNCH", "launch": { "task_infos": tasks } });
        let filters = json!({ "refuse_seconds": 0.0 });
        let body = json!({ "offer_ids": [offer["id"]], "operations": [launch], "filters": filters });
        self.accepted("ACCEPT", body);
    }

    /// Acknowledges an update.
    pub fn acknowledge(&self, status: &Value) {
        let body =
            json!({ "agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"] });
        self.accepted("ACKNOWLEDGE", body);
    }

    /// Asks for one task.
    pub fn reconcile(&self, task: &str, agent: Option<&str>) {
        let mut asked = json!({ "task_id": { "value": task } });
        if let Some(agent) = agent {
            asked["agent_id"] = json!({ "value": agent });
        }
        self.accepted("RECONCILE", json!({ "tasks": [asked] }));
    }
}

/// The offers of an event.
pub fn offers(event: &Value) -> Vec<Value> {
    event["offers"]["offers"].as_array().cloned().unwrap_or_default()
}

/// A task with a command.
pub fn task(offer: &Value, id: &str, line: &str) -> Value {
    json!({
        "name": id,
        "task_id": { "value": id },
        "agent_id": offer["agent_id"],
        "command": { "value": line },
        "resources": [scalar("cpus", 0.5), scalar("mem", 64.0)],
    })
}

/// A scalar resource.
pub fn scalar(name: &str, value: f64) -> Value {
    json!({ "name": name, "type": "SCALAR", "scalar": { "value": value } })
}

/// A text.
pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Reads one record, its length first.
fn record(reader: &mut BufReader<TcpStream>) -> Option<Value> {
    let mut length = String::new();
    reader.read_line(&mut length).ok().filter(|read| *read > 0)?;
    let mut bytes = vec![0; length.trim().parse().expect("a length")];
    reader.read_exact(&mut bytes).ok()?;
    Some(serde_json::from_slice(&bytes).expect("JSON"))
}
