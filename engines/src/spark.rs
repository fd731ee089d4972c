//! A real Spark for tests: a standalone master and a worker as processes of this machine, from PyPI's pyspark.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use meson_chaos_tests::until;
use meson_spark::{Master, State};
use tempfile::TempDir;

use crate::ports::free_ports;
use crate::process::end;

/// The folder that `make engines` makes.
///
/// # Errors
/// When the variable that names it is not set.
pub fn engines() -> anyhow::Result<PathBuf> {
    Ok(PathBuf::from(std::env::var("MESON_ENGINES").context("MESON_ENGINES: see `make test`")?))
}

/// Where Spark is installed.
///
/// # Errors
/// When `make engines` did not make it.
pub fn home() -> anyhow::Result<PathBuf> {
    // One folder for each version of Python; a pyspark is in one of them.
    let pythons = engines()?.join("spark/lib").read_dir().context("`make engines` makes it")?;
    let places = pythons.filter_map(|python| Some(python.ok()?.path().join("site-packages/pyspark")));
    places.into_iter().find(|place| place.is_dir()).context("`make engines` makes it")
}

/// The interpreter that came with it.
///
/// # Errors
/// When the variable that names its folder is not set.
pub fn python() -> anyhow::Result<PathBuf> {
    Ok(engines()?.join("spark/bin/python"))
}

/// Most of a short program's time would go to the compiler that makes long ones fast, and to collectors with many threads.
const JVM: (&str, &str) = ("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC");

/// Settings of an executor that runs spark steps on this machine alone.
///
/// # Errors
/// When there is no Spark.
pub fn local() -> anyhow::Result<Vec<(String, String)>> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    Ok([
        ("MESON_SPARK_HOME", path(home()?)),
        ("MESON_SPARK_PYTHON", path(python()?)),
        ("SPARK_LOCAL_IP", "127.0.0.1".to_owned()),
        (JVM.0, JVM.1.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into())
}

/// A jar with the classes of a Scala source, in a folder.
///
/// # Errors
/// When it does not compile.
pub fn jar(dir: &Path, name: &str, source: &str) -> anyhow::Result<PathBuf> {
    let (file, jar) = (dir.join(format!("{name}.scala")), dir.join(format!("{name}.jar")));
    std::fs::write(&file, source)?;
    let output = Command::new("java")
        .arg("-cp")
        .arg(home()?.join("jars/*"))
        .args(["scala.tools.nsc.Main", "-usejavacp", "-d"])
        .args([&jar, &file])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    Ok(jar)
}

/// Keeps whoever asks an application's interface waiting, and notes that somebody asked.
const SLOW: &str = r#"import javax.servlet.{Filter, FilterChain, FilterConfig, ServletRequest, ServletResponse}
class Slow extends Filter {
  private var config: FilterConfig = _
  override def init(given: FilterConfig): Unit = config = given
  override def doFilter(request: ServletRequest, response: ServletResponse, chain: FilterChain): Unit = {
    val asked = new java.io.FileOutputStream(config.getInitParameter("asked"), true)
    asked.write('x'); asked.close()
    // tidy: allow sleep: it is what makes it slow
    Thread.sleep(config.getInitParameter("ms").toLong)
    chain.doFilter(request, response)
  }
  override def destroy(): Unit = ()
}
"#;

/// Makes the interface of applications slow, each answer of it.
pub struct SlowInterface {
    dir: TempDir,
    jar: PathBuf,
}

impl SlowInterface {
    /// Compiles it.
    ///
    /// # Errors
    /// When Java or Spark are missing.
    pub fn new() -> anyhow::Result<SlowInterface> {
        let dir = tempfile::Builder::new().prefix("meson-slow-").tempdir()?;
        let jar = jar(dir.path(), "slow", SLOW)?;
        Ok(SlowInterface { dir, jar })
    }

    /// Properties of an application each of whose answers takes that long.
    pub fn conf(&self, name: &str, pause: Duration) -> serde_json::Value {
        serde_json::json!({
            "spark.driver.extraClassPath": self.jar,
            "spark.ui.filters": "Slow",
            "spark.Slow.param.ms": pause.as_millis().to_string(),
            "spark.Slow.param.asked": self.dir.path().join(name),
        })
    }

    /// How often that application was asked.
    pub fn asked(&self, name: &str) -> usize {
        std::fs::read(self.dir.path().join(name)).map_or(0, |asked| asked.len())
    }
}

/// A master and a worker. Ended when dropped.
pub struct Standalone {
    dir: TempDir,
    processes: Vec<Child>,
    /// Ports of the master: for applications, of its web interface, of the gateway for drivers.
    ports: [u16; 3],
}

/// Cores of the worker; more than the machine has, for steps of tests mostly wait.
const CORES: &str = "8";

impl Standalone {
    /// Starts both, and waits until the worker is known.
    ///
    /// # Errors
    /// When Java or Spark are missing, or they do not come up.
    pub async fn start() -> anyhow::Result<Standalone> {
        let dir = tempfile::Builder::new().prefix("meson-spark-").tempdir()?;
        let ports = free_ports()?;
        let mut spark = Standalone { dir, processes: Vec::new(), ports };
        let [port, web, gateway] = ports;
        let properties = format!("spark.master.rest.enabled true\nspark.master.rest.port {gateway}\n");
        let file = spark.dir.path().join("master.conf");
        std::fs::write(&file, properties)?;
        let file = file.to_string_lossy().into_owned();
        let (port, web) = (port.to_string(), web.to_string());
        let master =
            ["--host", "127.0.0.1", "--port", &port, "--webui-port", &web, "--properties-file", &file];
        spark.run("org.apache.spark.deploy.master.Master", &master)?;
        let url = spark.url();
        let work = spark.dir.path().join("work").to_string_lossy().into_owned();
        let worker = [
            "--host",
            "127.0.0.1",
            "--webui-port",
            "0",
            "--cores",
            CORES,
            "--memory",
            "4g",
            "-d",
            &work,
            &url,
        ];
        spark.run("org.apache.spark.deploy.worker.Worker", &worker)?;
        let master = spark.master();
        until("the worker of Spark is known", || async {
            (!master.state().await.ok()?.workers.is_empty()).then_some(())
        })
        .await
        .with_context(|| spark.logs())?;
        Ok(spark)
    }

    fn run(&mut self, class: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let name = class.rsplit_once('.').map_or(class, |(_, name)| name);
        let log = std::fs::File::create(self.dir.path().join(format!("{name}.log")))?;
        // The script becomes the program.
        let child = Command::new(home()?.join("bin/spark-class"))
            .arg(class)
            .args(arguments)
            .current_dir(self.dir.path())
            .env("SPARK_HOME", home()?)
            .env("SPARK_LOCAL_IP", "127.0.0.1")
            .env("SPARK_LOCAL_DIRS", self.dir.path())
            .env("SPARK_DAEMON_MEMORY", "256m")
            .env(JVM.0, JVM.1)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("spark-class cannot be started")?;
        self.processes.push(child);
        Ok(())
    }

    /// The master, as applications name it.
    pub fn url(&self) -> String {
        format!("spark://127.0.0.1:{}", self.ports[0])
    }

    /// The master's web interface.
    pub fn master(&self) -> Master {
        Master::new(&self.web())
    }

    fn web(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// Settings of schedulers and executors that use it.
    ///
    /// # Errors
    /// When there is no Spark.
    pub fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let own = [
            ("MESON_SPARK_MASTER", self.url()),
            ("MESON_SPARK_MASTER_UI", self.web()),
            ("MESON_SPARK_GATEWAY", format!("http://127.0.0.1:{}", self.ports[2])),
            ("MESON_SPARK_MASTERS", self.web()),
        ];
        Ok(local()?.into_iter().chain(own.map(|(name, value)| (name.to_owned(), value))).collect())
    }

    /// What runs at the master.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn state(&self) -> anyhow::Result<State> {
        Ok(self.master().state().await?)
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn logs(&self) -> String {
        let log = |name| std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default();
        format!("{}\n{}", log("Master.log"), log("Worker.log"))
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // The worker first: it ends its executors and drivers.
        self.processes.iter_mut().rev().for_each(end);
    }
}
