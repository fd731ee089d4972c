//! Who is offered what, and until when.

use meson_mesos::v1::scheduler::event;
use meson_mesos_standin::resources;
use serde_json::json;

use crate::harness::{Test, framework, task};

#[test]
fn roles_share_by_their_dominant_resource() {
    let mut test = Test::new();
    let a = test.subscribe("a", framework("web"));
    test.subscribe("b", framework("batch"));
    for link in 1..=4 {
        test.register(link, "cpus:2;mem:1024");
    }
    assert_eq!((test.offers("a").len(), test.offers("b").len()), (2, 2));
    // One that holds offers and takes none gives way once they are declined.
    test.call("a", &a, json!({ "type": "SUPPRESS" }));
    test.register(5, "cpus:2;mem:1024");
    assert_eq!((test.offers("a").len(), test.offers("b").len()), (0, 1));
}

#[test]
fn what_runs_is_not_offered_and_comes_back_when_it_ends() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:2;mem:1024;ports:[31000-31009]");
    let offer = test.offers("s").remove(0);
    let mut wish = task(&offer, "t", 1.5);
    let ports = json!({ "name": "ports", "type": "RANGES", "ranges": { "range": [{ "begin": 31002, "end": 31003 }] } });
    wish["resources"].as_array_mut().unwrap().push(ports);
    test.launch("s", &id, &offer, &[wish]);
    test.pass(1.0);
    let rest = test.offers("s").remove(0);
    assert_eq!(resources::scalar(&rest.resources, "cpus"), 0.5);
    assert_eq!(resources::text(&rest.resources), "cpus:0.5; mem:992; ports:[31000-31001, 31004-31009]");
    assert_eq!(test.launched().len(), 1);
}

#[test]
fn offers_end_with_the_subscription_without_a_word() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    assert_eq!(test.offers("s").len(), 1);
    let mut info = framework("web");
    info["id"] = json!({ "value": id });
    test.subscribe("s2", info);
    assert!(test.events.iter().all(|(_, event)| event.r#type() != event::Type::Rescind));
    assert_eq!(test.closed, ["s"]);
    assert_eq!(test.offers("s2").len(), 1);
    // The old stream's end is not the framework's.
    let now = test.now();
    test.cluster.stream_closed(now, "s");
    assert_eq!(test.cluster.framework_of_stream("s2"), Some(id));
}

#[test]
fn filters_hold_what_they_name_and_no_longer_than_they_say() {
    let mut test = Test::new();
    let id = test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    let offer = test.offers("s").remove(0);
    let body = json!({ "offer_ids": [{ "value": offer.id.value }], "filters": { "refuse_seconds": 10.0 } });
    test.call("s", &id, json!({ "type": "DECLINE", "decline": body }));
    test.pass(9.0);
    assert!(test.offers("s").is_empty());
    test.pass(2.0);
    assert_eq!(test.offers("s").len(), 1);
}

#[test]
fn frameworks_with_wrong_roles_are_refused() {
    let mut test = Test::new();
    let cases = [
        (json!({ "user": "u", "name": "n", "roles": ["a"] }), "'FrameworkInfo.roles' must not be set"),
        (json!({ "user": "u", "name": "n", "role": "-a" }), "'FrameworkInfo.role' is not a valid role"),
    ];
    for (info, words) in cases {
        assert_eq!(test.subscribe("s", info), "");
        let (_, event) = test.events.pop().unwrap();
        assert!(event.error.unwrap().message.contains(words));
        assert_eq!(test.closed.pop().as_deref(), Some("s"));
    }
}

#[test]
fn suppressed_roles_get_no_offers_and_others_do() {
    let mut test = Test::new();
    let mut info = framework("web");
    info["roles"] = json!(["web", "batch"]);
    let id = test.subscribe("s", info);
    test.call("s", &id, json!({ "type": "SUPPRESS", "suppress": { "roles": ["web"] } }));
    test.register(1, "cpus:1;mem:1024");
    test.register(2, "cpus:1;mem:1024");
    let role = |offer: &meson_mesos::v1::Offer| offer.allocation_info.clone().unwrap().role.unwrap();
    assert_eq!(test.offers("s").iter().map(role).collect::<Vec<_>>(), ["batch", "batch"]);
    // A role that is not the framework's drops the whole call.
    test.call("s", &id, json!({ "type": "SUPPRESS", "suppress": { "roles": ["batch", "other"] } }));
    test.register(3, "cpus:1;mem:1024");
    assert_eq!(test.offers("s").len(), 1);
    test.call("s", &id, json!({ "type": "REVIVE", "revive": { "roles": ["web"] } }));
    test.register(4, "cpus:1;mem:1024");
    assert_eq!(test.offers("s").iter().map(role).collect::<Vec<_>>(), ["web"]);
}

#[test]
fn reserved_resources_are_for_their_role() {
    let mut test = Test::new();
    for (stream, role) in [("a", "web"), ("b", "batch")] {
        let mut info = framework(role);
        info["capabilities"].as_array_mut().unwrap().push(json!({ "type": "RESERVATION_REFINEMENT" }));
        test.subscribe(stream, info);
    }
    test.register(1, "cpus(web):2;mem(web):512;cpus(batch):1;mem(batch):256");
    let of = |offers: &[meson_mesos::v1::Offer]| resources::text(&offers[0].resources);
    assert_eq!(of(&test.offers("a")), "cpus(web):2; mem(web):512");
    assert_eq!(of(&test.offers("b")), "cpus(batch):1; mem(batch):256");
}

#[test]
fn reservations_look_as_the_framework_knows_them() {
    let mut test = Test::new();
    test.subscribe("old", json!({ "user": "u", "name": "n", "role": "web" }));
    test.register(1, "cpus(web):2;mem:512");
    let offer = test.offers("old").remove(0);
    assert!(offer.allocation_info.is_none());
    for resource in &offer.resources {
        assert!(resource.allocation_info.is_none() && resource.reservations.is_empty(), "{resource:?}");
    }
    assert_eq!(offer.resources[0].role.as_deref(), Some("web"));
    assert_eq!(offer.resources[1].role.as_deref(), Some("*"));
}

#[test]
fn gpus_are_for_those_who_know_them() {
    let mut test = Test::new();
    test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024;gpus:1");
    assert!(test.offers("s").is_empty());
    let mut info = framework("web");
    info["capabilities"].as_array_mut().unwrap().push(json!({ "type": "GPU_RESOURCES" }));
    test.subscribe("g", info);
    assert_eq!(resources::scalar(&test.offers("g")[0].resources, "gpus"), 1.0);
}

#[test]
fn an_agent_that_is_lost_takes_its_offers_back() {
    let mut test = Test::new();
    test.subscribe("s", framework("web"));
    test.register(1, "cpus:1;mem:1024");
    let offer = test.offers("s").remove(0);
    let now = test.now();
    test.cluster.link_closed(now, 1);
    test.take();
    let rescinded = test.events.iter().find_map(|(_, event)| event.rescind.clone()).unwrap();
    assert_eq!(rescinded.offer_id, offer.id);
    // It has 600 s to come back before its tasks are given up.
    test.events.clear();
    test.pass(599.0);
    assert!(test.events.iter().all(|(_, event)| event.r#type() != event::Type::Failure));
    test.pass(2.0);
    assert!(test.events.iter().any(|(_, event)| event.r#type() == event::Type::Failure));
}
