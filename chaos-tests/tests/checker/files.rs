//! Histories and marks as files: what was written is read again, and what is broken is named.

use meson_chaos_tests::check::check;
use meson_chaos_tests::history::{History, Mark, MarkKind, parse_marks, read_marks};

use crate::sim::{self, Size};

#[test]
fn a_history_and_its_report_are_read_as_they_were_written() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("history.jsonl");
    let history = sim::history(3, Size::default());
    history.save(&path)?;
    let read = History::load(&path)?;
    assert_eq!(read, history);
    let report = check(&read);
    assert_eq!(
        serde_json::from_str::<meson_chaos_tests::check::Report>(&serde_json::to_string(&report)?)?,
        report
    );
    assert_eq!(report, check(&history));
    Ok(())
}

#[test]
fn a_history_that_was_cut_off_or_is_broken_is_an_error() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("history.jsonl");
    sim::history(3, Size::default()).save(&path)?;
    let text = std::fs::read_to_string(&path)?;
    let lines: Vec<&str> = text.lines().collect();
    let broken = |lines: Vec<&str>, what: &str| {
        std::fs::write(&path, lines.join("\n")).expect("the folder is ours");
        let error = History::load(&path).expect_err("it is broken").to_string();
        assert!(error.contains("history.jsonl") && error.contains(what), "{error}");
    };
    broken(lines[..lines.len() - 1].to_vec(), "its end is not there");
    broken(lines[1..].to_vec(), "does not begin with the setup");
    broken([&lines[..], &lines[1..2]].concat(), "something follows the end");
    broken([&lines[..1], &lines[..]].concat(), "line 2: a second setup");
    broken([&lines[..4], &["{\"mark\":"], &lines[4..]].concat(), "line 5");
    Ok(())
}

const LINE: &str = "1234567 beat run-1 fan[3]/one 2 17 executor-1 4242\n";

#[test]
fn marks_are_read() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("marks");
    std::fs::write(&path, format!("1 start r a 1 1 e 1\n{LINE}"))?;
    let marks = read_marks(&path)?;
    let last = Mark {
        at: 1_234_567,
        kind: MarkKind::Beat,
        run_id: "run-1".into(),
        step: "fan[3]/one".into(),
        attempt: 2,
        fence: 17,
        agent: "executor-1".into(),
        process: 4_242,
    };
    assert_eq!(marks.len(), 2);
    assert_eq!(marks[1], last);
    let kinds = ["start", "beat", "success", "failure"].map(|kind| LINE.replace("beat", kind));
    let kinds: Vec<MarkKind> =
        parse_marks("m", kinds.concat().as_bytes())?.iter().map(|mark| mark.kind).collect();
    assert_eq!(kinds, [MarkKind::Start, MarkKind::Beat, MarkKind::Success, MarkKind::Failure]);
    assert!(
        read_marks(&dir.path().join("nowhere")).is_err_and(|error| error.to_string().contains("nowhere"))
    );
    Ok(())
}

#[test]
fn an_unfinished_last_line_is_left_out_and_no_other() -> anyhow::Result<()> {
    assert_eq!(parse_marks("m", format!("{LINE}{}", LINE.trim_end()).as_bytes())?.len(), 1);
    assert_eq!(parse_marks("m", format!("{LINE}12").as_bytes())?.len(), 1);
    assert_eq!(parse_marks("m", b"")?.len(), 0);
    let torn = format!("{LINE}12345 beat ru{LINE}");
    let error = format!("{:#}", parse_marks("the file", torn.as_bytes()).expect_err("line 2 is torn"));
    assert!(error.contains("the file, line 2"), "{error}");
    Ok(())
}

#[test]
fn lines_that_are_no_marks_are_errors() {
    let lines = [
        "",
        "1 start r a 1 1 e",
        "1 start r a 1 1 e 1 more",
        "1 begin r a 1 1 e 1",
        "-1 start r a 1 1 e 1",
        "1 start r a one 1 e 1",
        "1 start r a 1 1 e 99999999999",
        "1 start  a 1 1 e 1",
        "1 start r a 1 1  1",
        "99999999999999999999 start r a 1 1 e 1",
        "1 start r a 1 1 e 1 ",
    ];
    for line in lines {
        let text = format!("{LINE}{line}\n");
        let error = parse_marks("the file", text.as_bytes()).expect_err(line);
        assert!(format!("{error:#}").contains("the file, line 2"), "{error:#}");
    }
    assert!(parse_marks("m", b"\xff start r a 1 1 e 1\n").is_err());
}
