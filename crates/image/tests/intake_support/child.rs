//! The smallest program that can be an intake child, for the tests.

fn main() {
    stampo_image::intake::run_child_if_asked();
    eprintln!("this program only runs as an intake child, in tests");
    std::process::exit(2);
}
