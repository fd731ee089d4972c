//! A real HiveServer2 for tests: Spark's Thrift server of the engines, on free ports of loopback, with a catalog in memory, and
//! what its web interface tells of the jobs that it runs.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::ports::free_ports;
use crate::process::until_up;
use crate::spark;

/// The server of this file, for as long as any of its tests holds it.
static SHARED: Mutex<Weak<ThriftServer>> = Mutex::const_new(Weak::new());

/// Longest time for an answer of the web interface.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// The server. Ended when dropped.
pub struct ThriftServer {
    process: Child,
    port: u16,
    ui_port: u16,
    dir: TempDir,
}

/// A job of Spark.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its number.
    pub id: u64,
    /// The statement that it is for.
    pub statement: String,
    /// Whether it runs.
    pub is_running: bool,
}

impl ThriftServer {
    /// The server that tests of this file share.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn shared() -> anyhow::Result<Arc<ThriftServer>> {
        let mut shared = SHARED.lock().await;
        let server = match shared.upgrade() {
            Some(server) => server,
            None => Arc::new(ThriftServer::start(&[]).await?),
        };
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    /// Starts one and waits until it answers; `more` are options of spark-submit.
    ///
    /// # Errors
    /// When the engines are missing, or it does not come up.
    pub async fn start(more: &[&str]) -> anyhow::Result<ThriftServer> {
        let home = spark::home()?;
        let dir = tempfile::Builder::new().prefix("meson-thrift-").tempdir()?;
        let [port, ui_port] = free_ports()?;
        let log = File::create(dir.path().join("log"))?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let options = [
            format!("spark.ui.port={ui_port}"),
            // Else a port that is taken makes it listen at another, silently.
            "spark.port.maxRetries=0".to_owned(),
            format!("spark.sql.warehouse.dir={}", path("warehouse")),
            format!("spark.local.dir={}", path("local")),
            format!(
                "spark.driver.extraJavaOptions=-Djava.io.tmpdir={} -Duser.timezone=UTC",
                dir.path().display()
            ),
            "spark.sql.catalogImplementation=in-memory".to_owned(),
            "spark.driver.bindAddress=127.0.0.1".to_owned(),
            "spark.driver.host=127.0.0.1".to_owned(),
            // Else tasks that sleep sleep on when they are cancelled.
            "spark.sql.thriftServer.interruptOnCancel=true".to_owned(),
        ];
        let process = Command::new(home.join("bin/spark-submit"))
            .args(["--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"])
            .args(["--master", "local[2]", "--driver-memory", "512m"])
            .args(options.iter().flat_map(|option| ["--conf", option]))
            .args(more)
            .arg("spark-internal")
            .args(["--hiveconf", &format!("hive.server2.thrift.port={port}")])
            .args(["--hiveconf", "hive.server2.thrift.bind.host=127.0.0.1"])
            .args(["--hiveconf", &format!("hive.exec.local.scratchdir={}", path("scratch"))])
            .args([
                "--hiveconf",
                &format!("hive.server2.logging.operation.log.location={}", path("operations")),
            ])
            .env("SPARK_HOME", &home)
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            // A Hadoop or Spark that somebody uses here is another, and Java is that of the PATH, as for HDFS.
            .env_remove("HADOOP_CONF_DIR")
            .env_remove("SPARK_CONF_DIR")
            .env_remove("JAVA_HOME")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("spark-submit cannot be started")?;
        let mut server = ThriftServer { process, port, ui_port, dir };
        let host = server.host();
        let answers = || TcpStream::connect(&host).is_ok();
        let started = until_up("Spark's Thrift server answers", &mut server.process, answers).await;
        started.with_context(|| server.log())?;
        Ok(server)
    }

    /// Its address.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Address of its web interface.
    pub fn ui(&self) -> String {
        format!("http://127.0.0.1:{}", self.ui_port)
    }

    /// All jobs whose statement holds this text, those that have ended too.
    ///
    /// # Errors
    /// When the web interface does not answer.
    pub fn jobs(&self, text: &str) -> anyhow::Result<Vec<Job>> {
        let applications = self.get("/api/v1/applications")?;
        let id = applications[0]["id"].as_str().context("an application")?.to_owned();
        let jobs = self.get(&format!("/api/v1/applications/{id}/jobs"))?;
        let jobs = jobs.as_array().context("a list of jobs")?.iter().map(|job| Job {
            id: job["jobId"].as_u64().unwrap_or_default(),
            statement: job["description"].as_str().unwrap_or_default().to_owned(),
            is_running: job["status"] == "RUNNING",
        });
        Ok(jobs.filter(|job| job.statement.contains(text)).collect())
    }

    /// The same, of those that run.
    ///
    /// # Errors
    /// When the web interface does not answer.
    pub fn running(&self, text: &str) -> anyhow::Result<Vec<Job>> {
        Ok(self.jobs(text)?.into_iter().filter(|job| job.is_running).collect())
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ui_port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        // With this version of HTTP the answer ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nAccept: application/json\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer of HTTP")?;
        ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        Ok(serde_json::from_str(body)?)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for ThriftServer {
    fn drop(&mut self) {
        // The script has become the server, so this is all of it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
