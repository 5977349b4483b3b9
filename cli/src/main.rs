//! The binary `rejoin`.

fn main() -> std::process::ExitCode {
    rejoin::main()
}
