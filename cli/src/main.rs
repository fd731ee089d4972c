//! mesonctl: writes to and reads from a Meson cluster, and runs one on this machine. Exit codes: 0 succeeded, 1 the run
//! failed or was cancelled, 2 usage or refused, 3 the cluster cannot be reached.

mod args;
mod client;
mod cluster;
mod dev;
mod error;
mod json;
mod logs;
mod mesos;
mod program;
mod runs;
mod show;
mod submit;
mod watch;
mod workflows;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Args, Command};
use client::Client;
use error::Error;

/// What a command can tell the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All well.
    Succeeded,
    /// The run failed or was cancelled.
    RunFailed,
    /// A program that was run ended with this status.
    Status(u8),
}

/// What a command gives.
pub type Result<T = Exit> = std::result::Result<T, Error>;

/// What the shell sees of a program that SIGPIPE ended.
const READER_LEFT: i32 = 141;

fn main() -> ExitCode {
    end_with_the_reader();
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::usage(format!("cannot start: {error}"))),
    };
    match runtime.block_on(run(args)) {
        Ok(Exit::Succeeded) => ExitCode::SUCCESS,
        Ok(Exit::RunFailed) => ExitCode::from(1),
        Ok(Exit::Status(status)) => ExitCode::from(status),
        Err(error) => fail(&error),
    }
}

/// Ends quietly when the reader of our output leaves, as `| head` does: `println!` knows only to panic then.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.payload().downcast_ref::<String>();
        if words.is_some_and(|words| words.starts_with("failed ") && words.contains("Broken pipe")) {
            std::process::exit(READER_LEFT);
        }
        usual(panic);
    }));
}

fn fail(error: &Error) -> ExitCode {
    match error {
        Error::Mistakes(lines) => eprintln!("{lines}"),
        error => eprintln!("mesonctl: {error}"),
    }
    ExitCode::from(error.exit_code())
}

async fn run(args: Args) -> Result {
    let client = Client::new(&args.endpoints, args.timeout);
    let output = args.output;
    match args.command {
        Command::Dev(options) => dev::run(options).await,
        Command::Validate { files, plugins } => workflows::validate(&files, &plugins, output),
        Command::Submit(options) => submit::run(&client, options, output).await,
        Command::Runs(command) => runs::run(&client, command, output).await,
        Command::Workflows(command) => workflows::run(&client, command, output).await,
        Command::Logs(options) => logs::run(&client, options, output).await,
        Command::Cluster(command) => cluster::run(&client, command, output).await,
        Command::Mesos(command) => mesos::run(&client, command, output).await,
        Command::Executors(command) => cluster::executors(&client, command, output).await,
        Command::Schema => {
            json::print(&meson_workflow::schema());
            Ok(Exit::Succeeded)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "mesonctl", &mut std::io::stdout());
            Ok(Exit::Succeeded)
        }
    }
}
