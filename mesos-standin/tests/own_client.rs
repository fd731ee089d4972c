//! The client library of this repository against the stand-in: a scheduler's session lives through a master's death.

mod support;

use std::time::Duration;

use meson_mesos::{
    resources::{Fixed, Resources, Wanted},
    scheduler::{Accept, Config, Event, Scheduler, Signal, Signals, call},
    v1::{
        CommandInfo, FrameworkInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus,
        framework_info::{Capability, capability},
        task_status::Reason,
    },
};
use support::{Cluster, WAIT};

const ROLE: &str = "web";

fn framework() -> FrameworkInfo {
    let capabilities = [
        capability::Type::MultiRole,
        capability::Type::PartitionAware,
        capability::Type::ReservationRefinement,
    ];
    FrameworkInfo {
        user: "root".to_owned(),
        name: "own client".to_owned(),
        roles: vec![ROLE.to_owned()],
        capabilities: capabilities.map(|kind| Capability { r#type: Some(kind as i32) }).to_vec(),
        failover_timeout: Some(60.0),
        checkpoint: Some(true),
        ..FrameworkInfo::default()
    }
}

fn task(offer: &Offer, line: &str) -> TaskInfo {
    let wanted = Wanted::new().scalar("cpus", Fixed::of(0.5)).scalar("mem", Fixed::of(32.0));
    let resources = Resources::of(offer.resources.iter().cloned()).expect("resources");
    TaskInfo {
        name: "t".to_owned(),
        task_id: TaskId::from("t"),
        agent_id: offer.agent_id.clone(),
        resources: resources.find(&wanted, ROLE).expect("they fit").into(),
        command: Some(CommandInfo { value: Some(line.to_owned()), ..CommandInfo::default() }),
        ..TaskInfo::default()
    }
}

/// The first thing that is looked for among the signals; the rest is skipped.
async fn find<T>(signals: &mut Signals, mut wanted: impl FnMut(Signal) -> Option<T>) -> T {
    let found = async {
        loop {
            let signal = signals.next().await.expect("the session goes on");
            if let Some(found) = wanted(signal) {
                return found;
            }
        }
    };
    tokio::time::timeout(WAIT, found).await.expect("it comes in time")
}

/// Acknowledges updates until one fits.
async fn update(
    scheduler: &Scheduler,
    signals: &mut Signals,
    fits: impl Fn(&TaskStatus) -> bool,
) -> TaskStatus {
    loop {
        let status = find(signals, |signal| match signal {
            Signal::Event(Event::Update(status)) => Some(status),
            _ => None,
        })
        .await;
        if let Some(acknowledge) = call::acknowledge(&status) {
            scheduler.call(acknowledge).await.expect("acknowledged");
        }
        if fits(&status) {
            return status;
        }
    }
}

#[tokio::test]
async fn a_session_lives_through_the_death_of_the_leading_master() {
    let mut cluster = Cluster::new(&["--max-agent-ping-timeouts", "100"]);
    let next = cluster.add_master(&[]);
    cluster.add_agent(&[]);
    let masters = format!("{next},{}", cluster.master());
    let config = Config::new(masters.parse().expect("masters"));
    let (scheduler, mut signals) = Scheduler::start(config, framework(), vec![], None).expect("a session");
    let id = |signal| match signal {
        Signal::Subscribed(subscribed) => Some(subscribed.framework_id),
        _ => None,
    };
    let first = find(&mut signals, id).await;
    let offer = find(&mut signals, |signal| match signal {
        Signal::Event(Event::Offers(offers)) => offers.into_iter().next(),
        _ => None,
    })
    .await;
    let flag = cluster.dir.path().join("flag");
    let line = format!("while [ ! -e {} ]; do sleep 0.05; done", flag.display());
    let accept = Accept::of(&offer).launch(vec![task(&offer, &line)]).expect("a launch");
    scheduler.call(accept.refuse(Duration::ZERO).build()).await.expect("accepted");
    update(&scheduler, &mut signals, |status| status.state() == TaskState::TaskRunning).await;

    cluster.masters[0].0.kill();
    assert_eq!(find(&mut signals, id).await, first);
    // The new master answers of the task once the agent is back.
    let known = async {
        loop {
            scheduler.call(call::reconcile_all()).await.expect("asked");
            let answer = update(&scheduler, &mut signals, |status| status.reason() == Reason::Reconciliation);
            if let Ok(status) = tokio::time::timeout(Duration::from_millis(200), answer).await {
                return status;
            }
        }
    };
    let known = tokio::time::timeout(WAIT, known).await.expect("an answer");
    assert_eq!(known.state(), TaskState::TaskRunning);
    std::fs::write(flag, "").expect("written");
    update(&scheduler, &mut signals, |status| status.state() == TaskState::TaskFinished).await;
    scheduler.call(call::teardown()).await.expect("torn down");
}
