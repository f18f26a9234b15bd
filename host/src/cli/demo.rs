//! `switchback demo`
use clap::Args;
/// Demo
#[derive(Args)]
pub(super) struct Demo {}
impl Demo {
    pub(super) fn run(self) -> anyhow::Result<()> {
        Ok(())
    }
}
