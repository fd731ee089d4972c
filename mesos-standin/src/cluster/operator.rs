//! The operator's calls at `/api/v1`, as many as tests and people need.

use meson_mesos::v1::{
    VersionInfo,
    master::{Call, Response, call, response},
};

use super::{Cluster, Now, Refusal};

/// The version that the stand-in says it is; schedulers decide by it which calls they make.
pub const VERSION: &str = "1.11.0";

impl Cluster {
    /// Answers an operator's call: a response, or nothing where Mesos answers with an empty 200.
    ///
    /// # Errors
    /// When the call is incomplete, names what is not there, or is not part of the stand-in.
    pub fn operator_call(&mut self, now: Now, call: Call) -> Result<Option<Response>, Refusal> {
        self.now = now;
        let missing = |field: &str| {
            Refusal::BadRequest(format!("Failed to validate master::Call: Expecting '{field}' to be present"))
        };
        if call.r#type.is_none() {
            return Err(missing("type"));
        }
        match call.r#type() {
            call::Type::UpdateMaintenanceSchedule => {
                let update =
                    call.update_maintenance_schedule.ok_or_else(|| missing("update_maintenance_schedule"))?;
                self.set_schedule(now, update.schedule).map(|()| None)
            }
            call::Type::StartMaintenance => {
                let start = call.start_maintenance.ok_or_else(|| missing("start_maintenance"))?;
                self.start_maintenance(now, &start.machines).map(|()| None)
            }
            call::Type::StopMaintenance => {
                let stop = call.stop_maintenance.ok_or_else(|| missing("stop_maintenance"))?;
                self.stop_maintenance(now, &stop.machines);
                Ok(None)
            }
            call::Type::Teardown => {
                let id = call.teardown.ok_or_else(|| missing("teardown"))?.framework_id.value;
                if !self.frameworks.contains_key(&id) {
                    return Err(Refusal::BadRequest("No framework found with specified ID".to_owned()));
                }
                self.remove_framework(&id);
                Ok(None)
            }
            call::Type::MarkAgentGone => {
                let gone = call.mark_agent_gone.ok_or_else(|| missing("mark_agent_gone"))?;
                self.mark_gone(now, &gone.agent_id.value).map(|()| None)
            }
            call::Type::DeactivateAgent => {
                let id = call.deactivate_agent.ok_or_else(|| missing("deactivate_agent"))?.agent_id.value;
                self.set_deactivated(&id, true).map(|()| None)
            }
            call::Type::ReactivateAgent => {
                let id = call.reactivate_agent.ok_or_else(|| missing("reactivate_agent"))?.agent_id.value;
                self.set_deactivated(&id, false).map(|()| None)
            }
            call::Type::DrainAgent | call::Type::Unknown => {
                Err(Refusal::NotImplemented("not part of the stand-in".to_owned()))
            }
            question => self.answer(question).map(Some),
        }
    }

    fn answer(&self, question: call::Type) -> Result<Response, Refusal> {
        let mut answer = Response::default();
        let kind = match question {
            call::Type::GetHealth => {
                answer.get_health = Some(response::GetHealth { healthy: true });
                response::Type::GetHealth
            }
            call::Type::GetVersion => {
                let version_info = VersionInfo { version: VERSION.to_owned(), ..VersionInfo::default() };
                answer.get_version = Some(response::GetVersion { version_info });
                response::Type::GetVersion
            }
            call::Type::GetMaster => {
                answer.get_master = Some(response::GetMaster {
                    master_info: Some(self.master.clone()),
                    ..Default::default()
                });
                response::Type::GetMaster
            }
            call::Type::GetTasks => {
                answer.get_tasks = Some(self.view_tasks());
                response::Type::GetTasks
            }
            call::Type::GetAgents => {
                answer.get_agents = Some(self.view_agents());
                response::Type::GetAgents
            }
            call::Type::GetFrameworks => {
                answer.get_frameworks = Some(self.view_frameworks());
                response::Type::GetFrameworks
            }
            call::Type::GetExecutors => {
                answer.get_executors = Some(self.view_executors());
                response::Type::GetExecutors
            }
            call::Type::GetState => {
                answer.get_state = Some(response::GetState {
                    get_tasks: Some(self.view_tasks()),
                    get_executors: Some(self.view_executors()),
                    get_frameworks: Some(self.view_frameworks()),
                    get_agents: Some(self.view_agents()),
                });
                response::Type::GetState
            }
            call::Type::GetMaintenanceSchedule => {
                let schedule = self.schedule().clone();
                answer.get_maintenance_schedule = Some(response::GetMaintenanceSchedule { schedule });
                response::Type::GetMaintenanceSchedule
            }
            _ => return Err(Refusal::NotImplemented("not part of the stand-in".to_owned())),
        };
        answer.r#type = Some(kind.into());
        Ok(answer)
    }

    /// A deactivated agent keeps its tasks and gets no offers.
    fn set_deactivated(&mut self, id: &str, deactivated: bool) -> Result<(), Refusal> {
        let agent =
            self.agents.get_mut(id).ok_or_else(|| Refusal::NotFound(format!("Agent '{id}' not found")))?;
        agent.deactivated = deactivated;
        if deactivated {
            self.rescind_offers_on(id);
        } else {
            self.allocate(Some(id));
        }
        Ok(())
    }
}
