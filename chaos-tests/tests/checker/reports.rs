//! What a report says: as Markdown, and of what could not be checked.

use meson_chaos_tests::check::{Promise, check};
use meson_chaos_tests::history::{Fault, History};

use crate::sim::{self, Size};

fn history() -> History {
    sim::history(5, Size::default())
}

#[test]
fn markdown_has_a_table_for_each_promise_and_the_violations() {
    let mut history = history();
    let text = check(&history).markdown();
    for promise in Promise::ALL {
        assert!(
            text.contains(&format!("| {promise} was checked on | |\n|---|---:|\n")),
            "{promise}:\n{text}"
        );
        assert!(text.contains(&format!("| {promise} | 0 |")), "{promise}:\n{text}");
    }
    assert!(!text.contains("Not checked"), "{text}");

    let runs = history.end.runs.len();
    history.end.runs.clear();
    let report = check(&history);
    let lost = report.verdict(Promise::P1).map(|verdict| verdict.violations.len()).unwrap_or_default();
    assert!(lost > 20 && lost <= runs, "{lost} of {runs}");
    let text = report.markdown();
    assert!(text.contains(&format!("| P1 accepted is kept | {lost} |")), "{text}");
    assert!(text.contains("is not there at the end\n"), "{text}");
    assert!(text.contains(&format!("- … and {} more\n", lost - 20)), "{text}");
}

#[test]
fn violations_come_in_the_order_of_time() {
    let mut history = history();
    history.end.runs.clear();
    for verdict in check(&history).verdicts {
        assert!(verdict.violations.is_sorted_by_key(|violation| violation.at), "{:?}", verdict.promise);
    }
}

/// What a rule cannot judge is said, not passed over.
#[test]
fn what_is_not_known_is_noted() {
    type Spoil = fn(&mut History);
    let spoils: [(Spoil, &str); 4] = [
        (|history| history.workflows.values_mut().for_each(|shape| shape.waits.clear()), "needs `gate`"),
        (
            |history| history.workflows.get_mut("chain").into_iter().for_each(|shape| shape.steps.clear()),
            "P8: ",
        ),
        (
            |history| {
                let touches = vec!["switch-1".to_owned()];
                history.faults.push(Fault {
                    from: 1,
                    until: 2,
                    what: "unplug".into(),
                    touches,
                    leader: false,
                });
            },
            "`switch-1`",
        ),
        (
            |history| {
                history.workflows.values_mut().for_each(|shape| shape.waits.clear());
                history.end.runs.iter_mut().for_each(|run| run.signals.clear());
            },
            "P1: the shape of workflow `gate`",
        ),
    ];
    for (spoil, note) in spoils {
        let mut noted = false;
        for seed in 0..20 {
            let mut history = sim::history(seed, Size::default());
            spoil(&mut history);
            noted |= check(&history).notes.iter().any(|known| known.contains(note));
        }
        assert!(noted, "{note}");
    }
}
