//! What the steps of the chaos tests run: writes marks about itself into a file that nothing under test knows of.
//!
//! Each mark is one write to a file opened for appending, so that marks of several processes never mix. Which agent it
//! runs on it knows by the hostname, which each machine of the test has for itself.

use std::fs::File;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use meson_chaos_tests::clock;

/// How often it says that it lives.
const BEAT_EVERY: Duration = Duration::from_millis(40);

/// A step that marks when it starts, lives and ends.
#[derive(Parser)]
struct Arguments {
    /// File of marks.
    marks: std::path::PathBuf,
    /// How long it works, in milliseconds.
    #[arg(long)]
    work_ms: u64,
    /// Attempts up to this number fail.
    #[arg(long, default_value_t = 0)]
    fail_until_attempt: u32,
}

struct Marks {
    file: File,
    attempt: u32,
    who: String,
}

impl Marks {
    fn open(path: &std::path::Path) -> anyhow::Result<Marks> {
        let of = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
        let attempt = of("MESON_ATTEMPT")?;
        let agent = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        let who = format!(
            "{} {} {attempt} {} {agent} {}",
            of("MESON_RUN_ID")?,
            of("MESON_STEP")?,
            of("MESON_FENCE")?,
            std::process::id()
        );
        let file = File::options().create(true).append(true).open(path).context("cannot open the marks")?;
        Ok(Marks { file, attempt: attempt.parse()?, who })
    }

    fn write(&mut self, kind: &str) -> anyhow::Result<()> {
        let line = format!("{} {kind} {}\n", clock::now(), self.who);
        Ok(self.file.write_all(line.as_bytes())?)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut marks = Marks::open(&arguments.marks)?;
    marks.write("start")?;
    let end = Instant::now() + Duration::from_millis(arguments.work_ms);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        // tidy: allow sleep: to take time is the work of this step
        std::thread::sleep(left.min(BEAT_EVERY));
        marks.write("beat")?;
    }
    if marks.attempt <= arguments.fail_until_attempt {
        marks.write("failure")?;
        return Ok(ExitCode::FAILURE);
    }
    marks.write("success")?;
    Ok(ExitCode::SUCCESS)
}
