//! The program as it is, built with fault points: `REJOIN_FAULT=push-sent` kills it where a push was just sent.

fn main() -> std::process::ExitCode {
    rejoin::main()
}
