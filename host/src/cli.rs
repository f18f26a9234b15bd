//! The command line: `run` and `demo` are hosts; everything else is a client of a running one's control API.
//!
//! Results go to standard output, errors and hints to standard error. Exit codes: 0 done, 1 refused or failed, 2 wrong
//! usage, 3 no host answers.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Prints a line. Unlike `println!`, no panic when nobody reads any more (`history | head`).
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod run;
mod demo;
mod check;
mod status;
mod history;
mod show;
mod pools;
mod events;
mod crashes;
mod member;
mod push;
mod say;
mod switch;
mod terms;
mod activate;
mod step;
mod receipt;
mod journal;
mod trial;
mod client;
mod text;

use self::client::{Client, Unreachable};
use crate::app::StartError;
use crate::causes::with_causes;
use crate::store::StoreError;

/// A load-balancing HTTP proxy with a back button for deployments
#[derive(Parser)]
#[command(name = "switchback", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Which host is meant.
#[derive(Args)]
struct Place {
    /// The configuration file; commands take the host's state folder from it
    #[arg(
        short,
        long,
        global = true,
        env = "SWITCHBACK_CONFIG",
        default_value = "switchback.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    /// The state folder to use, instead of the one that the configuration names
    #[arg(long, global = true, env = "SWITCHBACK_STATE", value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Print the control API's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Change something only if this release is current, such as `r42`; refused otherwise
    #[arg(long, global = true, value_name = "RELEASE")]
    if_current: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Demo(demo::Demo),
    Check(check::Check),
    Status(status::Status),
    History(history::History),
    Show(show::Show),
    Pools(pools::Pools),
    Events(events::Events),
    Crashes(crashes::Crashes),
    Member(member::Member),
    Push(push::Push),
    Switch(switch::Switch),
    Activate(activate::Activate),
    /// Make the release before the current one current again
    ///
    /// The switch is done before anything is written: it works with a full disk, and the receipt says whether it would
    /// survive a crash.
    ///
    /// Examples: switchback back --why "checkout errors"; switchback back 3; switchback back --to r37; switchback back
    /// --vip shop
    Back(step::Step),
    /// Make the release after the current one current again: takes a `back` back
    Forward(step::Step),
    Receipt(receipt::Receipt),
    Journal(journal::Journal),
    /// Keep the releases that would go back by themselves
    ///
    /// A release that was activated with `--confirm-within` is gone back from unless this comes in time.
    Confirm(say::Confirm),
    /// Make a release a point of no return: `back` stops there and says why
    ///
    /// Example: switchback fence r42 --why "orders were migrated"
    Fence(say::Fence),
    /// Make a point of no return a release like any other (needs the admin token)
    Unfence(say::Unfence),
    /// List what was gone back from, and comes in again by a person only
    Quarantine(say::Quarantine),
    /// Let in what was gone back from, through whatever door it comes
    Unquarantine(say::Unquarantine),
    /// Compile the policy on standard input (what `run` starts as a limited child process)
    #[command(name = crate::policy::compile::CHILD_COMMAND, hide = true)]
    CompilePolicy,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let Cli { place, command } = Cli::parse();
    let done = match command {
        Command::CompilePolicy => {
            return crate::policy::wasm::compiler::run().map_or(ExitCode::FAILURE, ExitCode::from);
        }
        Command::Run(run) => run.run(&place),
        Command::Demo(demo) => demo.run(),
        Command::Check(check) => check.run(&place),
        Command::Status(status) => status.run(&place),
        Command::History(history) => history.run(&place),
        Command::Show(show) => show.run(&place),
        Command::Pools(pools) => pools.run(&place),
        Command::Events(events) => events.run(&place),
        Command::Crashes(crashes) => crashes.run(&place),
        Command::Member(member) => member.run(&place),
        Command::Push(push) => push.run(&place),
        Command::Switch(switch) => switch.run(&place),
        Command::Activate(activate) => activate.run(&place),
        Command::Back(step) => step.run(&place, "back"),
        Command::Forward(step) => step.run(&place, "forward"),
        Command::Receipt(receipt) => receipt.run(&place),
        Command::Journal(journal) => journal.run(&place),
        Command::Confirm(confirm) => confirm.run(&place),
        Command::Fence(fence) => fence.run(&place),
        Command::Unfence(unfence) => unfence.run(&place),
        Command::Quarantine(quarantine) => quarantine.run(&place),
        Command::Unquarantine(unquarantine) => unquarantine.run(&place),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(error.as_ref()));
            if let Some(unreachable) = error.downcast_ref::<Unreachable>() {
                eprintln!("hint: {}", unreachable.hint());
                return ExitCode::from(3);
            }
            if let Some(StartError::Store(StoreError::InUse(_))) = error.downcast_ref() {
                eprintln!("hint: `run --take-over` takes its place without losing a request");
            }
            ExitCode::FAILURE
        }
    }
}

impl Place {
    fn client(&self) -> Client {
        let state = self.state.clone().unwrap_or_else(|| client::state_folder(&self.config));
        Client::of(state).if_current(self.if_current.clone())
    }
}

fn log_to_stderr(default: &str) {
    use std::io::IsTerminal;
    use tracing_subscriber::EnvFilter;
    // The library warns of floods, a line for each connection: whoever floods would write the log. They are counted.
    let default = format!("{default},h2=error");
    let filter = EnvFilter::try_from_env("SWITCHBACK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
