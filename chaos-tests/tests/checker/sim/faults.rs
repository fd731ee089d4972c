//! What befalls the simulated system: replicas and executors that die, hang or are cut off.

use meson_chaos_tests::history::{Fault, Micros};

use super::{Event, LEASE, MILLI, World, executor_name, replica_name};

impl World {
    pub(super) fn next_fault(&mut self) {
        if self.faults_left == 0 {
            return;
        }
        self.faults_left -= 1;
        match self.random.below(20) {
            0..=9 => self.strike_leader("kill"),
            10 | 11 => self.strike_leader("pause"),
            12 | 13 => {
                let replica = self.random.below(3);
                self.strike_replicas("kill", &[replica]);
            }
            14 => self.strike_replicas("kill", &[0, 1, 2]),
            15..=17 => self.strike_executor("kill"),
            _ => self.strike_executor("cut off"),
        }
        let pause = self.random.between(800, 3_000) * MILLI;
        self.after(pause, Event::Fault);
    }

    fn strike_leader(&mut self, what: &str) {
        if let Some(leader) = self.leader {
            self.strike_replicas(what, &[leader]);
        }
    }

    fn strike_replicas(&mut self, what: &str, replicas: &[usize]) {
        let longest = if replicas.len() == 3 { 6_000 } else { 1_200 };
        let until = self.now + self.random.between(100, longest) * MILLI;
        let names: Vec<String> = replicas.iter().map(|replica| replica_name(*replica)).collect();
        let leader = self.leader.is_some_and(|leader| replicas.contains(&leader));
        self.record(until, format!("{what} {}", names.join(", ")), names, leader);
        for replica in replicas {
            if !self.replicas_down[*replica] {
                self.replicas_down[*replica] = true;
                self.after(until - self.now, Event::ReplicaUp(*replica));
            }
        }
        if leader {
            self.leader = None;
            self.hear();
            self.elect_soon();
        }
    }

    fn strike_executor(&mut self, what: &str) {
        let executor = self.random.below(self.executors.len());
        if self.executors[executor].down {
            return;
        }
        // Some come back within their lease, and go on as if nothing had been; others do not.
        let until = self.now + self.random.between(100, 6_000) * MILLI;
        self.record(
            until,
            format!("{what} {}", executor_name(executor)),
            vec![executor_name(executor)],
            false,
        );
        self.executors[executor].down = true;
        self.after(until - self.now, Event::ExecutorUp(executor));
        self.hear();
    }

    fn record(&mut self, until: Micros, what: String, touches: Vec<String>, leader: bool) {
        self.history.faults.push(Fault { from: self.now, until, what, touches, leader });
    }

    pub(super) fn replica_up(&mut self, replica: usize) {
        self.replicas_down[replica] = false;
        self.elect_soon();
    }

    fn elect_soon(&mut self) {
        let pause = self.random.between(200, 900) * MILLI;
        self.after(pause, Event::Elect);
    }

    pub(super) fn elect(&mut self) {
        let up: Vec<usize> = (0..3).filter(|replica| !self.replicas_down[*replica]).collect();
        if self.leader.is_some() || up.len() < 2 {
            return;
        }
        self.leader = Some(up[self.random.below(up.len())]);
        self.hear();
        self.place();
    }

    pub(super) fn executor_up(&mut self, executor: usize) {
        self.executors[executor].down = false;
        self.hear();
        self.place();
    }

    /// Each executor that loses its leader counts its lease from then on; one that has a leader again stops counting.
    fn hear(&mut self) {
        for executor in 0..self.executors.len() {
            let state = &mut self.executors[executor];
            let silent = state.down || self.leader.is_none();
            match state.silent_since {
                None if silent => {
                    state.silent_since = Some(self.now);
                    self.after(LEASE, Event::LeaseEnd { executor, since: self.now });
                }
                Some(_) if !silent => state.silent_since = None,
                None | Some(_) => {}
            }
        }
    }
}
