//! `cargo xtask`: sets up, builds, runs, tests, measures and checks probe.

mod bench;
mod build;
mod check;
mod compile;
mod dist;
mod docs;
mod kernels;
mod lab;
mod run;
mod selftests;
mod setup;
mod shell;
mod test;
#[allow(dead_code, reason = "the build script of probe-user uses more of this file than xtask does")]
mod toolchain;

use std::process::ExitCode;

use clap::Parser;

/// Sets up, builds, runs, tests, measures and checks probe.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    Setup(setup::SetupOptions),
    Build(build::BuildOptions),
    Run(run::RunOptions),
    Lab(lab::LabOptions),
    Test(test::TestOptions),
    Bench(bench::BenchOptions),
    Check(check::CheckOptions),
    Docs(docs::DocsOptions),
    Dist(dist::DistOptions),
    Kernels(kernels::KernelsOptions),
    Selftests(selftests::SelftestsOptions),
    #[command(hide = true)]
    UnderDocker(test::docker::Options),
    #[command(hide = true)]
    Inside(kernels::guest::GuestOptions),
}

fn main() -> ExitCode {
    let result = selftests::shadow::name().map_or_else(verb, selftests::shadow::run);
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn verb() -> anyhow::Result<ExitCode> {
    match Verb::parse() {
        Verb::Setup(options) => setup::run(&options),
        Verb::Build(options) => build::run(&options),
        Verb::Run(options) => run::run(&options),
        Verb::Lab(options) => lab::run(options),
        Verb::Test(options) => test::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Check(options) => check::run(&options),
        Verb::Docs(options) => docs::run(&options),
        Verb::Dist(options) => dist::run(&options),
        Verb::Kernels(options) => kernels::run(&options),
        Verb::Selftests(options) => selftests::run(&options),
        Verb::UnderDocker(options) => test::docker::run(&options),
        Verb::Inside(options) => kernels::guest::run(&options),
    }
}
