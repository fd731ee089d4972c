//! Daemons of Hadoop as processes of this machine, from the jars that `make engines` brings.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::ensure;
use tempfile::TempDir;

use crate::spark::engines;

/// Small heaps, and what makes Java start soon.
const JAVA: [&str; 4] = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"];

const LOGGING: &str = "log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
";

/// A folder with configuration, logs and data of daemons; removed when dropped.
pub(crate) struct Home {
    dir: TempDir,
    jars: PathBuf,
}

impl Home {
    /// An empty one.
    ///
    /// # Errors
    /// When the jars are missing.
    pub fn new(prefix: &str) -> anyhow::Result<Home> {
        let jars = engines()?.join("hadoop/jars");
        ensure!(jars.is_dir(), "{} is missing: `make engines` makes it", jars.display());
        let dir = tempfile::Builder::new().prefix(prefix).tempdir()?;
        std::fs::write(dir.path().join("log4j.properties"), LOGGING)?;
        Ok(Home { dir, jars })
    }

    /// A daemon or tool that is not started yet; what it says goes to the end of a log.
    pub fn java(&self, class: &str, log: &str) -> anyhow::Result<Command> {
        let log = File::options().create(true).append(true).open(self.path(log))?;
        let mut command = Command::new("java");
        command
            .args(JAVA)
            // What makes YARN's pages makes classes, too.
            .args(["--add-opens", "java.base/java.lang=ALL-UNNAMED"])
            // Where its web server unpacks itself.
            .arg(format!("-Djava.io.tmpdir={}", self.dir().display()))
            .arg("-cp")
            .arg(format!("{}:{}/*", self.dir().display(), self.jars.display()))
            .arg(class)
            .current_dir(self.dir())
            .env_remove("HADOOP_CONF_DIR")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Writes a file of settings.
    pub fn configure(&self, file: &str, all: &[(&str, &str)]) -> anyhow::Result<()> {
        let property = |(name, value): &(&str, &str)| {
            format!("<property><name>{name}</name><value>{value}</value></property>\n")
        };
        let properties: String = all.iter().map(property).collect();
        let text = format!("<configuration>\n{properties}</configuration>\n");
        Ok(std::fs::write(self.path(file), text)?)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// All that is in a log; nothing where there is none yet.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The end of a log, for an error.
    pub fn last_words(&self, log: &str) -> String {
        let log = self.log(log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}
