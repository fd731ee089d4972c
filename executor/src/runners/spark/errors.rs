//! What Spark's own words mean for a retry.

use crate::drive::Verdict;

/// Words of Spark, all of which must be there; whether the platform is at fault; the reason to report. The first that are
/// found count.
const WORDS: [(&[&str], bool, &str); 17] = [
    (&["java.lang.OutOfMemoryError"], false, "out_of_memory"),
    (&["exceeding memory limits"], false, "out_of_memory"),
    (&["Container killed by YARN for exceeding"], false, "out_of_memory"),
    (&["Master removed our application: KILLED"], false, "application_killed"),
    // YARN's, of whoever asked it to. That an application is KILLED is also what Spark makes of one that YARN forgot.
    (&["was killed by user"], false, "application_killed"),
    (&["YARN application has exited unexpectedly"], true, "application_removed"),
    (&["YARN application has already ended"], true, "application_removed"),
    // The master's half of an application, which runs nothing of the program's.
    (&["due to AM Container"], true, "application_removed"),
    // Hadoop's; a program's own calls, to HDFS say, come later.
    (&["Error initializing SparkContext", "failed on connection exception"], true, "master_away"),
    (&["All masters are unresponsive"], true, "master_away"),
    (&["Failed to connect to master"], true, "master_away"),
    (&["Master removed our application"], true, "application_removed"),
    (&["ExecutorLostFailure"], true, "executors_lost"),
    (&["Executor heartbeat timed out"], true, "executors_lost"),
    (&["MetadataFetchFailedException"], true, "executors_lost"),
    (&["Could not initialize class org.apache.spark"], true, "installation"),
    (&["JAVA_HOME is not set"], true, "installation"),
];

/// The verdict on an application that failed, from the telling part of its output.
pub fn judge(said: &str, exit_code: i32) -> Verdict {
    let message = if said.is_empty() {
        format!("the application ended with exit status {exit_code}")
    } else {
        said.to_owned()
    };
    match WORDS.iter().find(|(words, ..)| words.iter().all(|word| said.contains(word))) {
        Some((_, true, reason)) => Verdict::platform(reason, message),
        Some((_, false, reason)) => Verdict::user(reason, message),
        None => Verdict::user("application_failed", message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparks_words_have_classes() {
        let of = |said: &str| {
            let failure = judge(said, 1).failure();
            (failure.class().as_str_name(), failure.reason)
        };
        let exited =
            "ExecutorLostFailure\nERROR YarnClientSchedulerBackend: YARN application has exited unexpectedly";
        let killed =
            format!("{exited} with state KILLED\nApplication application_1_1 was killed by user x at host");
        assert_eq!(of(&killed), ("FAILURE_CLASS_USER", "application_killed".into()));
        let no_master =
            "Application application_1_1 failed 2 times due to AM Container for appattempt_1_1_2 exited";
        let forgotten = format!("{exited} with state KILLED");
        for said in [forgotten.as_str(), "The YARN application has already ended! It might", no_master] {
            assert_eq!(of(said), ("FAILURE_CLASS_PLATFORM", "application_removed".into()));
        }
        let refused = "java.net.ConnectException: Call From a/1 to b:1 failed on connection exception";
        assert_eq!(of(refused), ("FAILURE_CLASS_USER", "application_failed".into()), "a file's address, say");
        let refused = format!("ERROR SparkContext: Error initializing SparkContext.\n{refused}");
        assert_eq!(of(&refused), ("FAILURE_CLASS_PLATFORM", "master_away".into()));
        assert_eq!(of("ValueError: x"), ("FAILURE_CLASS_USER", "application_failed".into()));
        assert_eq!(of("a java.lang.OutOfMemoryError: heap"), ("FAILURE_CLASS_USER", "out_of_memory".into()));
        let lost = "Job aborted due to stage failure: ExecutorLostFailure (executor 1 exited)";
        assert_eq!(of(lost), ("FAILURE_CLASS_PLATFORM", "executors_lost".into()));
        let killed = "ExecutorLostFailure: Container killed by YARN for exceeding physical memory limits";
        assert_eq!(of(killed).1, "out_of_memory");
        assert_eq!(judge("", 3).message(), "the application ended with exit status 3");
    }
}
