//! Attempts of the simulated system: placed, launched, marked, ended, reported, lost.

use meson_chaos_tests::history::{Amounts, Mark, MarkKind, Micros, RunState};

use super::{AGENT_CPU_MILLIS, Attempt, Event, LEASE_MARGIN, MILLI, World, executor_name};

impl World {
    /// Places ready steps where there is room, in the order they came.
    pub(super) fn place(&mut self) {
        if self.leader.is_none() {
            return;
        }
        // Who finds no room lets others pass, but not for long.
        let mut passed = 0;
        for _ in 0..self.ready.len() {
            if passed >= 4 {
                break;
            }
            let Some((run, node)) = self.ready.pop_front() else { break };
            let state = &mut self.runs[run].nodes[node];
            state.queued = state.status == "READY";
            if !state.queued {
                continue;
            }
            let wanted = Amounts { cpu_millis: state.cpu_millis, mem_bytes: 1 << 28 };
            let first = self.random.below(self.executors.len());
            let mut executors = (0..self.executors.len()).map(|place| (first + place) % self.executors.len());
            match executors.find(|executor| self.has_room(*executor, wanted)) {
                Some(executor) => self.begin_attempt(run, node, executor, wanted),
                None => {
                    self.ready.push_back((run, node));
                    passed += 1;
                }
            }
        }
    }

    fn has_room(&self, executor: usize, wanted: Amounts) -> bool {
        let state = &self.executors[executor];
        let here = !state.down && state.silent_since.is_none();
        here && state.cpu_millis + wanted.cpu_millis <= AGENT_CPU_MILLIS
    }

    fn begin_attempt(&mut self, run: usize, node: usize, executor: usize, amounts: Amounts) {
        let state = &mut self.runs[run].nodes[node];
        (state.status, state.queued) = ("PLACED", false);
        state.attempts += 1;
        let succeeds = !self.random.percent(state.failures_percent);
        let (number, fence) = (state.attempts, self.fence() + 1);
        let process = 1_000 + (fence % 30_000) as u32;
        self.live.insert(self.attempts.len());
        self.executors[executor].cpu_millis += amounts.cpu_millis;
        self.attempts.push(Attempt {
            run,
            node,
            number,
            fence,
            executor,
            process,
            amounts,
            started: None,
            succeeds,
            ended: false,
            over: false,
        });
        let pause = self.random.between(500, 4 * MILLI);
        self.after(pause, Event::Launch(self.attempts.len() - 1));
    }

    pub(super) fn launch(&mut self, attempt: usize) {
        let state = &self.attempts[attempt];
        if state.over || state.ended {
            return;
        }
        if self.executors[state.executor].down {
            return self.after(20 * MILLI, Event::Launch(attempt));
        }
        self.attempts[attempt].started = Some(self.now);
        let time = self.random.between(20, 700) * MILLI;
        self.after(time, Event::End(attempt));
    }

    /// The state knows that the attempt has ended.
    fn settle(&mut self, attempt: usize) {
        let state = &mut self.attempts[attempt];
        state.over = true;
        self.executors[state.executor].cpu_millis -= state.amounts.cpu_millis;
        self.live.remove(&attempt);
    }

    /// The process ends by itself.
    pub(super) fn end(&mut self, attempt: usize) {
        if self.attempts[attempt].ended {
            return;
        }
        let kind = if self.attempts[attempt].succeeds { MarkKind::Success } else { MarkKind::Failure };
        self.write_marks(attempt, Some(kind));
        self.attempts[attempt].ended = true;
        let pause = self.random.between(500, 3 * MILLI);
        self.after(pause, Event::Report(attempt));
    }

    /// The process is ended from outside: it writes nothing more.
    fn kill_process(&mut self, attempt: usize) {
        if !self.attempts[attempt].ended {
            self.write_marks(attempt, None);
            self.attempts[attempt].ended = true;
        }
    }

    fn write_marks(&mut self, attempt: usize, end: Option<MarkKind>) {
        let Some(started) = self.attempts[attempt].started else { return };
        let mut times = vec![(started, MarkKind::Start)];
        let mut at: Micros = started + self.size.beat;
        while at < self.now {
            times.push((at, MarkKind::Beat));
            at += self.size.beat;
        }
        times.extend(end.map(|kind| (self.now, kind)));
        let state = &self.attempts[attempt];
        let run = &self.runs[state.run];
        for (at, kind) in times {
            self.history.marks.push(Mark {
                at,
                kind,
                run_id: run.id.clone(),
                step: run.nodes[state.node].path.clone(),
                attempt: state.number,
                fence: state.fence,
                agent: executor_name(state.executor),
                process: state.process,
            });
        }
    }

    pub(super) fn report(&mut self, attempt: usize) {
        let state = &self.attempts[attempt];
        if state.over {
            return;
        }
        if self.leader.is_none() || self.executors[state.executor].down {
            return self.after(25 * MILLI, Event::Report(attempt));
        }
        let (run, node, succeeds) = (state.run, state.node, state.succeeds);
        self.settle(attempt);
        let cancelling = self.runs[run].cancelling;
        let failing = self.runs[run].failing;
        let state = &mut self.runs[run].nodes[node];
        if succeeds {
            state.status = "SUCCEEDED";
        } else {
            state.failures += 1;
            let again = state.failures < state.attempts_max;
            state.status = match (cancelling, again && !failing) {
                (true, _) => "CANCELLED",
                (false, true) => "BACKING_OFF",
                (false, false) => "FAILED",
            };
            match state.status {
                "FAILED" => self.runs[run].failing = true,
                "BACKING_OFF" => {
                    let pause = self.random.between(5, 60) * MILLI;
                    self.after(pause, Event::Retry { run, node });
                }
                _ => {}
            }
        }
        self.advance(run);
        self.place();
    }

    pub(super) fn retry(&mut self, run: usize, node: usize) {
        if self.runs[run].nodes[node].status != "BACKING_OFF" {
            return;
        }
        if self.leader.is_none() {
            return self.after(25 * MILLI, Event::Retry { run, node });
        }
        self.runs[run].nodes[node].status = "READY";
        self.advance(run);
    }

    /// A cancel took effect: what runs is killed soon, unless it ends by itself before.
    pub(super) fn kill_attempts(&mut self, run: usize) {
        for attempt in self.live.iter().copied().collect::<Vec<usize>>() {
            let state = &mut self.attempts[attempt];
            if state.run == run && !state.ended && !state.over {
                state.succeeds = false;
                // What is told to end is killed at once here, and reported a little later.
                self.kill_process(attempt);
                let pause = self.random.between(MILLI, 30 * MILLI);
                self.after(pause, Event::Report(attempt));
            }
        }
    }

    /// An executor that heard of no leader for its lease ends its attempts.
    pub(super) fn lease_end(&mut self, executor: usize, since: Micros) {
        if self.executors[executor].silent_since != Some(since) {
            return;
        }
        for attempt in self.of(executor) {
            self.kill_process(attempt);
        }
        self.after(LEASE_MARGIN, Event::AgentLost { executor, since });
    }

    /// The scheduler gives an executor up: its attempts were lost, whatever they had come to.
    pub(super) fn agent_lost(&mut self, executor: usize, since: Micros) {
        if self.leader.is_none() {
            return self.after(25 * MILLI, Event::AgentLost { executor, since });
        }
        for attempt in self.of(executor) {
            // What was placed after the executor came back is not meant.
            if self.attempts[attempt].started.is_some_and(|started| started > since) {
                continue;
            }
            self.kill_process(attempt);
            self.settle(attempt);
            let Attempt { run, node, .. } = self.attempts[attempt];
            let state = &self.runs[run];
            let status = match (state.cancelling, state.failing) {
                (true, _) => "CANCELLED",
                (_, true) => "FAILED",
                _ => "READY",
            };
            self.runs[run].nodes[node].status = status;
            if self.runs[run].status == RunState::Active {
                self.advance(run);
            }
        }
    }

    fn of(&self, executor: usize) -> Vec<usize> {
        let here = |attempt: &usize| self.attempts[*attempt].executor == executor;
        self.live.iter().copied().filter(here).collect()
    }
}
