//! What Spark is told: a file of properties, so that nothing of it shows among the processes' arguments. Later lines win:
//! first what the installation says, then the step, then what is Meson's.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use meson_spark::tag;

use super::Told;
use super::settings::{Executors, MIB, Mode};
use crate::drive::Job;
use crate::units;

/// Share of the step's memory that is the heap of a driver; the rest is for Python and for the virtual machine itself.
const HEAP_PERCENT: u64 = 60;

/// The properties of a step.
pub fn of(job: &Job, told: &Told) -> BTreeMap<String, String> {
    let config = &told.config;
    let mut properties = BTreeMap::new();
    let mut set = |name: &str, value: String| drop(properties.insert(name.to_owned(), value));
    // In cluster mode the driver's memory is the cluster's.
    if job.mem_bytes > 0 && config.deploy_mode == Mode::Client {
        set("spark.driver.memory", format!("{}m", job.mem_bytes / 100 * HEAP_PERCENT / MIB));
    }
    // By default Spark draws bars over the log.
    set("spark.ui.showConsoleProgress", "false".to_owned());
    if !told.python.is_empty() {
        set("spark.pyspark.python", told.python.clone());
    }
    for (name, list) in [
        ("spark.jars", &config.jars),
        ("spark.submit.pyFiles", &config.py_files),
        ("spark.files", &config.files),
        ("spark.jars.packages", &config.packages),
    ] {
        if !list.is_empty() {
            set(name, list.join(","));
        }
    }
    if let Some(executors) = &config.executors {
        sizes(executors, &mut set);
    }
    if let Some(dynamic) = &config.dynamic_allocation {
        set("spark.dynamicAllocation.enabled", "true".to_owned());
        set("spark.dynamicAllocation.minExecutors", dynamic.min.to_string());
        set("spark.dynamicAllocation.maxExecutors", dynamic.max.to_string());
        // Without an outside shuffle service executors may go only when nobody needs their output.
        set("spark.dynamicAllocation.shuffleTracking.enabled", "true".to_owned());
    }
    properties.extend(config.conf.clone());
    properties.extend(marks(job, told));
    properties
}

fn sizes(executors: &Executors, set: &mut impl FnMut(&str, String)) {
    let Executors { count, cores, memory } = executors;
    if let Some(cores) = cores {
        set("spark.executor.cores", cores.to_string());
    }
    if let Some(count) = count {
        set("spark.executor.instances", count.to_string());
        // Standalone and Mesos count cores, not executors.
        set("spark.cores.max", (u64::from(*count) * u64::from(cores.unwrap_or(1))).to_string());
        if cores.is_none() {
            set("spark.executor.cores", "1".to_owned());
        }
    }
    if let Some(bytes) = memory.as_ref().and_then(|text| units::parse_bytes(text)) {
        set("spark.executor.memory", format!("{}m", bytes / MIB));
    }
}

/// What makes the application Meson's.
fn marks(job: &Job, told: &Told) -> BTreeMap<String, String> {
    let tag = told.tag(job);
    let title = format!("{}/{}", job.workflow, job.step);
    let mode = if tag.on_cluster { "cluster" } else { "client" };
    let words = format!("meson,meson-run-{},meson-attempt-{}", job.run_id, job.attempt_id);
    [
        ("spark.master", told.master.clone()),
        ("spark.submit.deployMode", mode.to_owned()),
        ("spark.app.name", tag.name(&title)),
        (tag::ATTEMPT_ID, job.attempt_id.clone()),
        (tag::MODE, mode.to_owned()),
        ("spark.meson.run", job.run_id.clone()),
        ("spark.meson.step", job.step.clone()),
        ("spark.meson.attempt", job.attempt.to_string()),
        ("spark.meson.fence", job.fence.to_string()),
        ("spark.yarn.tags", words),
        ("spark.kubernetes.driver.label.meson-attempt", job.attempt_id.clone()),
        ("spark.kubernetes.executor.label.meson-attempt", job.attempt_id.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Where the file is.
pub fn path(job: &Job) -> PathBuf {
    job.dir.join("spark.properties")
}

/// Writes the file: first where temporary files go, in case nobody says more, then what the installation's own says, then
/// these.
///
/// # Errors
/// When the disk refuses.
pub fn write(job: &Job, told: &Told, properties: &BTreeMap<String, String>) -> io::Result<()> {
    let conf = std::env::var("SPARK_CONF_DIR").unwrap_or_else(|_| format!("{}/conf", told.home));
    let mut text = line("spark.local.dir", &std::env::temp_dir().to_string_lossy()).into_bytes();
    // Without such a file there is nothing more to begin with.
    text.extend(std::fs::read(Path::new(&conf).join("spark-defaults.conf")).unwrap_or_default());
    text.push(b'\n');
    for (name, value) in properties {
        text.extend_from_slice(line(name, value).as_bytes());
    }
    let mut file =
        std::fs::File::options().create(true).write(true).truncate(true).mode(0o600).open(path(job))?;
    file.write_all(&text)
}

/// A line in the form of `java.util.Properties`.
fn line(name: &str, value: &str) -> String {
    let mut line = String::new();
    for c in name.chars() {
        if " :=#!\\\t".contains(c) {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('=');
    for (at, c) in value.chars().enumerate() {
        match c {
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            ' ' if at == 0 => line.push_str("\\ "),
            c if c.is_control() => line.push_str(&format!("\\u{:04x}", c as u32)),
            c => line.push(c),
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runners::Plan;
    use crate::runners::testing::plan;

    fn properties(config: &str) -> BTreeMap<String, String> {
        let Ok(Plan::Process(program)) = plan("spark", config) else { panic!("no process: {config}") };
        let job: Job = serde_json::from_str(&program.files[0].1).unwrap();
        let job = Job {
            mem_bytes: 1 << 30,
            attempt_id: "1-R.2.3".into(),
            workflow: "w".into(),
            step: "s".into(),
            ..job
        };
        of(&job, &job.config().unwrap())
    }

    #[test]
    fn the_steps_own_words_win_but_not_over_the_marks() {
        let found = properties(
            r#"{"code": "1", "conf": {"spark.driver.memory": "1g", "spark.app.name": "x", "spark.ui.port": 1},
               "executors": {"count": 2, "memory": "1GiB"}, "jars": ["a.jar", "b.jar"]}"#,
        );
        for (name, value) in [
            ("spark.driver.memory", "1g"),
            ("spark.app.name", "w/s [meson:1-R.2.3]"),
            ("spark.meson.attempt_id", "1-R.2.3"),
            ("spark.ui.port", "1"),
            ("spark.cores.max", "2"),
            ("spark.executor.memory", "1024m"),
            ("spark.jars", "a.jar,b.jar"),
        ] {
            assert_eq!(found[name], value, "{name}");
        }
        assert_eq!(properties(r#"{"code": "1"}"#)["spark.driver.memory"], "614m");
        let dynamic = properties(r#"{"code": "1", "dynamic_allocation": {"min": 1, "max": 4}}"#);
        assert_eq!(dynamic["spark.dynamicAllocation.maxExecutors"], "4");
    }

    #[test]
    fn values_stay_on_their_line() {
        assert_eq!(line("spark.a b", " x\ny\\z=é"), "spark.a\\ b=\\ x\\ny\\\\z=é\n");
    }
}
