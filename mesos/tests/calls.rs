//! Calls as they are built. Quotes are of the scheduler API's documentation.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::time::Duration;

use meson_mesos::scheduler::{Accept, call};
use meson_mesos::v1;

#[test]
fn what_mesos_would_misread_cannot_be_said() {
    // "If the list of tasks is empty, master will send UPDATE events for all currently known tasks of the framework."
    assert!(call::reconcile(Vec::new()).is_none());
    // "If no role is specified, the operation will apply to all of the scheduler's subscribed roles."
    assert!(call::revive(Vec::new()).is_none() && call::suppress(Vec::new()).is_none());
    // "The scheduler must not acknowledge status updates that do not have status.uuid set"
    let mut status = v1::TaskStatus { agent_id: Some("A1".into()), ..v1::TaskStatus::default() };
    assert!(call::acknowledge(&status).is_none());
    status.uuid = Some(vec![1; 16].into());
    assert!(call::acknowledge(&status).is_some());
    // "Mesos will cap Filters.refuse_seconds at 31536000 seconds (365 days)."
    assert_eq!(call::refuse_for(Duration::from_secs(u64::MAX)).refuse_seconds, Some(31_536_000.0));
}

#[test]
fn an_accept_is_of_one_agent_and_one_role() {
    let offer = |id: &str, agent: &str, role: &str| v1::Offer {
        id: id.into(),
        agent_id: agent.into(),
        allocation_info: Some(v1::resource::AllocationInfo { role: Some(role.to_owned()) }),
        ..v1::Offer::default()
    };
    let first = offer("O1", "A1", "eng");
    let accept = Accept::of(&first).and(&offer("O2", "A1", "eng")).unwrap();
    assert!(accept.clone().and(&offer("O3", "A2", "eng")).unwrap_err().to_string().contains("A2"));
    assert!(accept.clone().and(&offer("O3", "A1", "ads")).is_err());
    let command = Some(v1::CommandInfo::default());
    let task = v1::TaskInfo { agent_id: "A1".into(), command, ..v1::TaskInfo::default() };
    let elsewhere = v1::TaskInfo { agent_id: "A2".into(), ..task.clone() };
    assert!(accept.clone().launch(vec![elsewhere]).is_err());
    let both = v1::TaskInfo { executor: Some(v1::ExecutorInfo::default()), ..task.clone() };
    assert!(accept.clone().launch(vec![both]).is_err());
    let call = accept.launch(vec![task]).unwrap().refuse(Duration::from_secs(1)).build();
    assert_eq!(call::name(&call), "ACCEPT");
    let accept = call.accept.unwrap();
    assert_eq!(accept.offer_ids, ["O1".into(), "O2".into()]);
    assert_eq!(accept.operations[0].launch.as_ref().unwrap().task_infos.len(), 1);
}
