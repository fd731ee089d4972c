//! A real container engine for tests: Podman's service on a socket of its own, with storage of its own, and an image made
//! of nothing but Debian's static busybox.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::process::until_up;

/// The image.
pub const IMAGE: &str = "localhost/meson-test:1";

/// The programs of the image, by which busybox knows what to be.
const PROGRAMS: &str = "sh cat echo sleep true false env touch wc head tail dd ls id test kill";

/// Podman asks for more open files and processes than a machine may give; crun refuses machines with cgroups of both versions.
const SETTINGS: &str = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\nruntime = \"runc\"\n";

/// The engine. Ended when dropped, with all containers.
pub struct Podman {
    dir: TempDir,
    service: Option<Child>,
}

impl Podman {
    /// Starts it, and makes the image.
    ///
    /// # Errors
    /// When Podman or busybox are missing, or it does not answer.
    pub async fn start() -> anyhow::Result<Podman> {
        let dir = tempfile::Builder::new().prefix("meson-podman-").tempdir()?;
        let mut podman = Podman { dir, service: None };
        std::fs::write(podman.settings(), SETTINGS)?;
        podman.make_image()?;
        let (started, socket) = (podman.start_service()?, podman.socket());
        let answers = || UnixStream::connect(&socket).is_ok();
        until_up("the container engine answers", podman.service.insert(started), answers).await?;
        Ok(podman)
    }

    /// Its address, as settings name it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("podman.sock")
    }

    fn settings(&self) -> PathBuf {
        self.dir.path().join("containers.conf")
    }

    fn start_service(&self) -> anyhow::Result<Child> {
        let log = std::fs::File::create(self.dir.path().join("podman.log"))?;
        // What it starts leaves notes where it stands.
        let mut service = self.podman();
        service.current_dir(self.dir.path()).args(["system", "service", "--time", "0", &self.host()]);
        service.stderr(log).spawn().context("podman cannot be started")
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command.env("CONTAINERS_CONF", self.settings());
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.dir.path().join(name));
        }
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]).stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.podman().args(arguments).output().context("podman cannot be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "podman {} failed: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn make_image(&self) -> anyhow::Result<()> {
        let root = self.dir.path().join("image");
        std::fs::create_dir_all(root.join("bin"))?;
        std::fs::create_dir_all(root.join("tmp"))?;
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).context("busybox-static is not installed")?;
        for program in PROGRAMS.split(' ') {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(program))?;
        }
        let archive = self.dir.path().join("image.tar");
        let packed = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status()?;
        ensure!(packed.success(), "the image cannot be packed");
        self.output(&["import", "--quiet", &archive.to_string_lossy(), IMAGE]).map(drop)
    }

    /// Has a script make an image; it is given the command of this engine.
    ///
    /// # Errors
    /// When it fails.
    pub fn build(&self, script: &Path) -> anyhow::Result<()> {
        let podman = self.podman();
        let made = Command::new(script)
            .arg(podman.get_program())
            .args(podman.get_args())
            .env("CONTAINERS_CONF", self.settings())
            .output()
            .with_context(|| format!("{} cannot be started", script.display()))?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    /// Ids of all containers, running or not.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn containers(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.output(&["ps", "--all", "--quiet"])?.lines().map(str::to_owned).collect())
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Whatever cannot be removed has no process any more.
        let _ = self.output(&["rm", "--all", "--force", "--time", "0"]);
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
        let _ = self.output(&["unmount", "--all"]);
    }
}
