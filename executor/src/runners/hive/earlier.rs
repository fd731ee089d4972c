//! What earlier attempts of the step left at Spark's server. Where their machine died or was cut off, nobody ended their
//! statements, and the server does not know: it takes hours until it misses a connection. So before the first statement their
//! jobs are ended, by the web interface, and it is waited until none of them runs.
//!
//! A statement that is still planned has no job yet, and one that the server runs without jobs never has: those are not seen.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::spark::{self, Spark, SparkJob};
use crate::drive::{Job, Verdict, Voice};

/// How often jobs are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long jobs are waited for that do not end.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an interface is waited for that tells nothing.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Looks in a row that find nothing: between two jobs of one statement a single look may fall.
const EMPTY_LOOKS: u32 = 2;

/// Returns once no statement of an earlier attempt runs, or nobody tells whether one does.
pub async fn end(job: &Job, ui: &str, voice: &Voice) -> Result<(), Verdict> {
    if job.attempt <= 1 || ui.is_empty() {
        return Ok(());
    }
    let mut spark = Spark::new(ui)?;
    let (began, mut looks) = (Instant::now(), Looks::default());
    loop {
        let left = spark.running(&spark::step_tag(job)).await.map(|jobs| others(&jobs, &spark::tag(job)));
        match looks.next(left.as_ref().map(Vec::len), began.elapsed()) {
            Next::Begin => return Ok(()),
            Next::BeginBlindly => {
                eprintln!(
                    "{ui} does not tell whether a statement of an earlier attempt runs: not waited for any longer"
                );
                return Ok(());
            }
            Next::GiveUp(count) => {
                let message =
                    format!("{count} jobs of an earlier attempt still run, says {ui}: end them there");
                return Err(Verdict::platform("query_left", message));
            }
            Next::LookAgain { is_news } => {
                if is_news {
                    voice.message("statements of an earlier attempt still run; they are ended first");
                }
            }
        }
        for id in left.into_iter().flatten() {
            spark.kill(id).await;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The jobs that are not of the attempt with this tag.
fn others(jobs: &[SparkJob], own: &str) -> Vec<u64> {
    let others = jobs.iter().filter(|job| !job.description.trim_start().starts_with(own));
    others.map(|job| job.id).collect()
}

/// What looks have found so far.
#[derive(Debug, Default)]
struct Looks {
    /// How many found nothing, since one did or gave no answer.
    empty: u32,
    /// How many jobs ran when last one was told.
    left: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Begin,
    BeginBlindly,
    LookAgain { is_news: bool },
    GiveUp(usize),
}

impl Looks {
    /// What follows from one more that found so many jobs, or had no answer, after so long.
    fn next(&mut self, found: Option<usize>, after: Duration) -> Next {
        let is_news = self.left == 0 && found.is_some_and(|found| found > 0);
        self.empty = if found == Some(0) { self.empty + 1 } else { 0 };
        self.left = found.unwrap_or(self.left);
        match found {
            Some(0) if self.empty >= EMPTY_LOOKS => Next::Begin,
            // What was seen to run is not taken for ended because nobody answers any more.
            None if self.left == 0 && after >= SILENCE_MAX => Next::BeginBlindly,
            _ if self.left > 0 && after >= PATIENCE => Next::GiveUp(self.left),
            _ => Next::LookAgain { is_news },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Next = Next::LookAgain { is_news: false };

    #[test]
    fn two_looks_must_find_nothing() {
        let (mut looks, second) = (Looks::default(), Duration::from_secs(1));
        assert_eq!(looks.next(Some(2), second), Next::LookAgain { is_news: true });
        assert_eq!(looks.next(Some(0), second), AGAIN);
        assert_eq!(looks.next(None, second), AGAIN);
        assert_eq!(looks.next(Some(0), second), AGAIN);
        assert_eq!(looks.next(Some(0), second), Next::Begin);
    }

    #[test]
    fn patience_has_an_end() {
        assert_eq!(Looks::default().next(None, SILENCE_MAX), Next::BeginBlindly);
        let mut looks = Looks::default();
        assert_eq!(looks.next(Some(1), PATIENCE), Next::GiveUp(1));
        assert_eq!(looks.next(None, SILENCE_MAX), AGAIN, "one was seen to run");
        assert_eq!(looks.next(None, PATIENCE), Next::GiveUp(1));
    }

    #[test]
    fn others_are_other_attempts_of_the_same_step() {
        let own = spark::tests::job("a[0]");
        let tagged = |id: u64, tag: &str| -> SparkJob {
            serde_json::from_value(serde_json::json!({ "jobId": id, "description": format!("{tag}x") }))
                .unwrap()
        };
        let earlier = Job { attempt: 1, ..own.clone() };
        let jobs = [tagged(1, &spark::tag(&own)), tagged(2, &spark::tag(&earlier))];
        assert_eq!(others(&jobs, &spark::tag(&own)), [2]);
        let other_step = spark::tag(&spark::tests::job("a_0_"));
        assert!(!other_step.starts_with(&spark::step_tag(&own)));
    }
}
