//! Clients of the simulated system. Each operation takes effect at one instant between its call and its answer; some
//! are never answered, and took effect or not.

use meson_chaos_tests::history::{Answer, Operation, Request, RunState, RunView};

use super::{Event, MILLI, Run, Sent, World};

impl World {
    pub(super) fn send_next(&mut self, client: u32) {
        let left = &mut self.left[client as usize];
        if *left == 0 {
            return;
        }
        *left -= 1;
        let number = *left;
        let request = self.request(client, number);
        let deadline = self.now + 1_500 * MILLI;
        self.sent.push(Sent { client, called: self.now, request, deadline });
        let pause = self.random.between(200, 3 * MILLI);
        self.after(pause, Event::Arrive { operation: self.sent.len() - 1, late: false });
    }

    fn request(&mut self, client: u32, number: u32) -> Request {
        let known = match self.known.len() {
            0 => None,
            // Mostly runs of late, which still move.
            count => Some(self.known[count - 1 - self.random.below(count.min(12))]),
        };
        let Some(run) = known else { return self.submission(client, number) };
        let (run_id, name) = (self.runs[run].id.clone(), self.workflows[self.runs[run].workflow].name);
        match self.random.below(100) {
            0..30 => self.submission(client, number),
            30..38 => {
                // The same request once more, as a client does that was not answered.
                let request_id = self.runs[run].request_id.clone();
                Request::Submit { request_id, workflow: name.into() }
            }
            38..46 => Request::Cancel { run_id },
            46..60 if name == "gate" => {
                Request::Signal { run_id, name: "go".into(), request_id: format!("signal-{client}-{number}") }
            }
            46..85 => Request::Get { run_id, stale: false },
            _ => Request::Get { run_id, stale: true },
        }
    }

    fn submission(&mut self, client: u32, number: u32) -> Request {
        let workflow = self.workflows[self.random.below(self.workflows.len())].name;
        Request::Submit { request_id: format!("request-{client}-{number}"), workflow: workflow.into() }
    }

    pub(super) fn arrive(&mut self, operation: usize, late: bool) {
        let request = self.sent[operation].request.clone();
        let from_the_past = matches!(request, Request::Get { stale: true, .. });
        if self.leader.is_none() && !from_the_past {
            return self.wait_for_a_leader(operation, late);
        }
        let answer = self.apply(&request);
        if late {
            return;
        }
        let lost = self.random.percent(3);
        let answer = if lost { Answer::Unknown { code: "Unavailable".into() } } else { answer };
        self.reply(operation, answer);
    }

    fn wait_for_a_leader(&mut self, operation: usize, late: bool) {
        if late || self.now < self.sent[operation].deadline {
            return self.after(30 * MILLI, Event::Arrive { operation, late });
        }
        self.reply(operation, Answer::Unknown { code: "DeadlineExceeded".into() });
        if self.random.percent(50) {
            let pause = self.random.between(1, 400) * MILLI;
            self.after(pause, Event::Arrive { operation, late: true });
        }
    }

    fn reply(&mut self, operation: usize, answer: Answer) {
        if let Answer::Started { run_id } = &answer
            && let Some(run) = self.find(run_id)
            && !std::mem::replace(&mut self.runs[run].known, true)
        {
            self.known.push(run);
        }
        let answered = self.now + self.random.between(200, 3 * MILLI);
        let Sent { client, called, request, .. } = &self.sent[operation];
        let (client, called, request) = (*client, *called, request.clone());
        self.answer(Operation { client, called, answered: Some(answered), request, answer });
        let pause = answered - self.now + self.random.between(5, 120) * MILLI;
        self.after(pause, Event::Client(client));
    }

    /// An operation takes effect.
    fn apply(&mut self, request: &Request) -> Answer {
        match request {
            Request::Submit { request_id, workflow } => self.start(request_id, workflow),
            Request::Get { run_id, stale } => self.see(run_id, *stale),
            Request::Cancel { run_id } => self.cancel(run_id),
            Request::Signal { run_id, name, request_id } => self.signal(run_id, name, request_id),
        }
    }

    fn find(&self, run_id: &str) -> Option<usize> {
        run_id.strip_prefix("run-")?.parse().ok().filter(|run| *run < self.runs.len())
    }

    fn start(&mut self, request_id: &str, workflow: &str) -> Answer {
        if let Some(run) = self.requests.get(request_id) {
            return Answer::Started { run_id: self.runs[*run].id.clone() };
        }
        let Some(workflow) = self.workflows.iter().position(|known| known.name == workflow) else {
            return refused("NotFound");
        };
        let run = self.runs.len();
        let run_id = format!("run-{run}");
        self.requests.insert(request_id.into(), run);
        self.runs.push(Run {
            id: run_id.clone(),
            request_id: request_id.into(),
            workflow,
            status: RunState::Active,
            failing: false,
            cancelling: false,
            nodes: Vec::new(),
            places: Default::default(),
            waiting_signals: Vec::new(),
            signals: Vec::new(),
            signal_ids: Vec::new(),
            views: Vec::new(),
            known: false,
        });
        self.advance(run);
        Answer::Started { run_id }
    }

    fn see(&mut self, run_id: &str, stale: bool) -> Answer {
        let Some(run) = self.find(run_id) else { return refused("NotFound") };
        if !stale {
            return Answer::Seen(self.runs[run].view());
        }
        let as_of = self.now - self.random.between(0, 500) * MILLI;
        let views = &self.runs[run].views;
        match views[..views.partition_point(|(at, _)| *at <= as_of)].last() {
            Some((_, view)) => Answer::Seen(RunView { stale: true, ..view.clone() }),
            None => refused("NotFound"),
        }
    }

    fn cancel(&mut self, run_id: &str) -> Answer {
        let Some(run) = self.find(run_id) else { return refused("NotFound") };
        if self.runs[run].status == RunState::Active && !self.runs[run].cancelling {
            self.runs[run].cancelling = true;
            self.kill_attempts(run);
            self.advance(run);
        }
        Answer::Accepted
    }

    fn signal(&mut self, run_id: &str, name: &str, request_id: &str) -> Answer {
        let Some(run) = self.find(run_id) else { return refused("NotFound") };
        let state = &mut self.runs[run];
        if state.signal_ids.iter().any(|known| known == request_id) {
            return Answer::Accepted;
        }
        if state.status != RunState::Active {
            return refused("FailedPrecondition");
        }
        state.signal_ids.push(request_id.into());
        state.waiting_signals.push((name.into(), request_id.into()));
        self.advance(run);
        Answer::Accepted
    }
}

fn refused(code: &str) -> Answer {
    Answer::Refused { code: code.into(), message: "as the simulated system says".into() }
}
