//! `ACCEPT`: what is launched, and what is refused in which words.

use meson_mesos::v1::{Offer, TaskState, task_status::Reason};
use serde_json::{Value, json};

use crate::harness::{Test, executor, framework, only, task, with_executor};

/// Makes a sound task unsound.
type Spoil = Box<dyn Fn(&mut Value)>;

#[test]
fn more_than_is_left_is_refused_task_by_task() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024");
    let offer = test.offers("s").remove(0);
    test.launch("s", &id, &offer, &[task(&offer, "a", 1.5), task(&offer, "b", 1.0), task(&offer, "c", 0.5)]);
    let refused = test.statuses("s");
    let refused = only(&refused);
    assert_eq!((refused.task_id.value.as_str(), refused.state()), ("b", TaskState::TaskError));
    assert_eq!(refused.reason(), Reason::TaskInvalid);
    assert!(refused.uuid.is_none());
    assert!(refused.message().contains("required by task and its executor is more than available cpus:0.5"));
    assert_eq!(test.launched().len(), 2);
}

#[test]
fn an_executor_is_counted_once_and_must_stay_the_same() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024;disk:10");
    let offer = test.offers("s").remove(0);
    // 0.5 for the executor and three times 0.5 for tasks are all there is.
    let tasks: Vec<Value> =
        ["a", "b", "c", "d"].iter().map(|name| with_executor(&offer, name, 0.5)).collect();
    test.launch("s", &id, &offer, &tasks);
    assert_eq!(only(&test.statuses("s")).task_id.value, "d");
    assert_eq!(test.launched().len(), 3);

    test.register(2, "cpus:2;mem:1024;disk:10");
    let offer = test.offers("s").into_iter().find(|offer| offer.hostname == "host-2").unwrap();
    let mut other = with_executor(&offer, "f", 0.1);
    other["executor"]["command"]["value"] = json!("something else");
    test.launch("s", &id, &offer, &[with_executor(&offer, "e", 0.1), other]);
    let statuses = test.statuses("s");
    assert!(
        only(&statuses).message().starts_with("ExecutorInfo is not compatible with existing ExecutorInfo")
    );
}

#[test]
fn tasks_are_refused_for_what_they_lack() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:8;mem:1024");
    let mut cases: Vec<(Spoil, &str)> = Vec::new();
    cases.push((Box::new(|task| task["resources"] = json!([])), "Task uses no resources"));
    cases.push((
        Box::new(|task| task["agent_id"]["value"] = json!("x")),
        "Task uses invalid agent x while agent",
    ));
    cases.push((
        Box::new(|task| task["executor"] = executor(0.1)),
        "Task should have at least one (but not both)",
    ));
    cases.push((
        Box::new(|task| task["task_id"]["value"] = json!("a/b")),
        "'a/b' contains invalid characters",
    ));
    cases.push((Box::new(|task| task["task_id"]["value"] = json!("")), "ID must not be empty"));
    cases.push((
        Box::new(|task| task["resources"][0]["scalar"]["value"] = json!(-1.0)),
        "Task uses invalid resources",
    ));
    cases.push((
        Box::new(|task| task["kill_policy"] = json!({ "grace_period": { "nanoseconds": -1 } })),
        "Task's 'kill_policy.grace_period' must be non-negative",
    ));
    for (spoil, words) in cases {
        let offer = test.offers("s").remove(0);
        let mut wish = task(&offer, "t", 1.0);
        spoil(&mut wish);
        test.launch("s", &id, &offer, &[wish]);
        let statuses = test.statuses("s");
        assert_eq!(only(&statuses).state(), TaskState::TaskError);
        assert!(only(&statuses).message().contains(words), "{}", only(&statuses).message());
        test.pass(1.0);
    }
    let offer = test.offers("s").remove(0);
    test.launch("s", &id, &offer, &[task(&offer, "t", 1.0), task(&offer, "t", 1.0)]);
    assert_eq!(only(&test.statuses("s")).message(), "Task has duplicate ID: t");
}

#[test]
fn a_group_is_launched_whole_or_not_at_all() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024;disk:10");
    let group = |offer: &Offer, cpus: f64| {
        let tasks: Vec<Value> = ["a", "b"]
            .iter()
            .map(|name| {
                let mut task = task(offer, name, cpus);
                task.as_object_mut().unwrap().remove("command");
                task
            })
            .collect();
        json!({ "type": "LAUNCH_GROUP", "launch_group": { "executor": executor(0.5), "task_group": { "tasks": tasks } } })
    };
    let offer = test.offers("s").remove(0);
    test.accept("s", &id, &[&offer], group(&offer, 1.0));
    let refused = test.statuses("s");
    assert_eq!(refused.len(), 2);
    assert!(refused.iter().all(|status| status.reason() == Reason::TaskGroupInvalid));
    test.pass(1.0);
    let offer = test.offers("s").remove(0);
    test.accept("s", &id, &[&offer], group(&offer, 0.5));
    assert_eq!(test.launched().iter().map(Vec::len).collect::<Vec<_>>(), [2]);
}

#[test]
fn offers_of_one_agent_are_combined_and_of_two_are_not() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    test.register(2, "cpus:1;mem:1024");
    let offers = test.offers("s");
    let operation = json!({ "type": "LAUNCH", "launch": { "task_infos": [task(&offers[0], "t", 0.5)] } });
    test.accept("s", &id, &[&offers[0], &offers[1]], operation.clone());
    let statuses = test.statuses("s");
    assert_eq!(only(&statuses).state(), TaskState::TaskDropped);
    assert!(only(&statuses).message().contains("Aggregated offers must belong to one single agent."));
    // Both are used up.
    test.accept("s", &id, &[&offers[1]], operation);
    assert!(only(&test.statuses("s")).message().ends_with("is no longer valid"));
}
