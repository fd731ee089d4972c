//! What Spark's own words mean for a retry.

use crate::drive::Verdict;

/// Words of Spark; whether the platform is at fault; the reason to report. The first that is found counts.
const WORDS: [(&str, bool, &str); 17] = [
    ("java.lang.OutOfMemoryError", false, "out_of_memory"),
    ("exceeding memory limits", false, "out_of_memory"),
    ("Container killed by YARN for exceeding", false, "out_of_memory"),
    ("Master removed our application: KILLED", false, "application_killed"),
    // YARN's, of whoever asked it to, also of an application that had not begun.
    ("was killed by user", false, "application_killed"),
    ("YARN application has exited unexpectedly with state KILLED", false, "application_killed"),
    ("YARN application has exited unexpectedly", true, "application_removed"),
    ("YARN application has already ended", true, "application_removed"),
    // Hadoop's, of a ResourceManager or of what holds files.
    ("failed on connection exception", true, "master_away"),
    ("All masters are unresponsive", true, "master_away"),
    ("Failed to connect to master", true, "master_away"),
    ("Master removed our application", true, "application_removed"),
    ("ExecutorLostFailure", true, "executors_lost"),
    ("Executor heartbeat timed out", true, "executors_lost"),
    ("MetadataFetchFailedException", true, "executors_lost"),
    ("Could not initialize class org.apache.spark", true, "installation"),
    ("JAVA_HOME is not set", true, "installation"),
];

/// The verdict on an application that failed, from the telling part of its output.
pub fn judge(said: &str, exit_code: i32) -> Verdict {
    let message = if said.is_empty() {
        format!("the application ended with exit status {exit_code}")
    } else {
        said.to_owned()
    };
    match WORDS.iter().find(|(words, ..)| said.contains(words)) {
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
        let application = "Application application_1_1 was killed by user x at host";
        assert_eq!(of(application), ("FAILURE_CLASS_USER", "application_killed".into()));
        assert_eq!(of("ValueError: x"), ("FAILURE_CLASS_USER", "application_failed".into()));
        assert_eq!(of("a java.lang.OutOfMemoryError: heap"), ("FAILURE_CLASS_USER", "out_of_memory".into()));
        let lost = "Job aborted due to stage failure: ExecutorLostFailure (executor 1 exited)";
        assert_eq!(of(lost), ("FAILURE_CLASS_PLATFORM", "executors_lost".into()));
        let killed = "ExecutorLostFailure: Container killed by YARN for exceeding physical memory limits";
        assert_eq!(of(killed).1, "out_of_memory");
        assert_eq!(judge("", 3).message(), "the application ended with exit status 3");
    }
}
