//! Processes that write to one store: `processes FILE COUNT MILLISECONDS`.
//!
//! Compares one process that writes all the time with COUNT of them, and with one beside which
//! another process was stopped (SIGSTOP) while it waited for its turn to write. The store at FILE
//! must not exist. `make bench-processes` runs it; docs/performance.md has its figures.
#![allow(unsafe_code)]

use pool_metadata::{DeviceInfo, DeviceState, PoolMetadata};
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let path = Path::new(&arguments[1]);
    match &arguments[2..] {
        [number] => child(path, number),
        [count, millis] => {
            let long = Duration::from_millis(millis.parse().unwrap());
            compare(path, count.parse().unwrap(), long);
        }
        _ => panic!("usage: processes FILE COUNT MILLISECONDS"),
    }
}

fn compare(path: &Path, count: usize, long: Duration) {
    let store = PoolMetadata::open(path).unwrap();
    for number in 0..count.max(2) {
        store.add_device(&mut device(number)).unwrap();
    }
    store.close().unwrap();
    let one = rate(path, 1, long);
    let many = rate(path, count, long);
    println!("1 process:    {one:8.0} writes/s");
    println!(
        "{count} processes:  {many:8.0} writes/s, {:.2} of one's",
        many / one
    );
    let one = rate(path, 1, long);
    let beside = rate_beside_a_stopped_process(path, long);
    println!(
        "1 beside a stopped one: {beside:8.0} writes/s, {:.2}",
        beside / one
    );
}

/// How many writes a second processes make together.
fn rate(path: &Path, count: usize, long: Duration) -> f64 {
    let mut children: Vec<_> = (0..count).map(|number| start(path, number)).collect();
    let began = Instant::now();
    children.iter_mut().for_each(go);
    std::thread::sleep(long);
    // The end of its input stops a child; all are stopped before any of them is waited for.
    children
        .iter_mut()
        .for_each(|child| drop(child.stdin.take()));
    let took = began.elapsed();
    let writes: Vec<u64> = children.into_iter().map(finish).collect();
    println!("writes of each: {writes:?}");
    writes.iter().sum::<u64>() as f64 / took.as_secs_f64()
}

fn rate_beside_a_stopped_process(path: &Path, long: Duration) -> f64 {
    let mut stopped = start(path, 1);
    let file = File::open(path).unwrap();
    flock(&file, libc::LOCK_EX);
    go(&mut stopped);
    std::thread::sleep(Duration::from_millis(100));
    // By now it waits, with the turn.
    signal(&stopped, libc::SIGSTOP);
    flock(&file, libc::LOCK_UN);
    let rate = rate(path, 1, long);
    signal(&stopped, libc::SIGCONT);
    finish(stopped);
    rate
}

fn flock(file: &File, operation: libc::c_int) {
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), operation) }, 0);
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: sends a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

fn start(path: &Path, number: usize) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(path).arg(number.to_string());
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut ready = [0];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut ready)
        .unwrap();
    child
}

fn go(child: &mut Child) {
    writeln!(child.stdin.as_mut().unwrap(), "go").unwrap();
}

/// Stops a child, and returns how many writes it has made.
fn finish(mut child: Child) -> u64 {
    drop(child.stdin.take());
    let mut answer = String::new();
    let output = child.stdout.as_mut().unwrap();
    output.read_to_string(&mut answer).unwrap();
    assert!(child.wait().unwrap().success());
    answer.trim().parse().unwrap()
}

/// Writes from the first line of its input to the end.
fn child(path: &Path, number: &str) {
    let store = PoolMetadata::open(path).unwrap();
    let name = device(number.parse().unwrap()).name;
    print!("r");
    std::io::stdout().flush().unwrap();
    let next_line = || std::io::stdin().lock().lines().next();
    assert!(next_line().is_some());
    let ended = std::thread::spawn(move || assert!(next_line().is_none()));
    let mut writes = 0;
    while !ended.is_finished() {
        let state = [DeviceState::Suspended, DeviceState::Activated][writes % 2];
        store.change_device_state(&name, state).unwrap();
        writes += 1;
    }
    println!("{writes}");
}

fn device(number: usize) -> DeviceInfo {
    DeviceInfo::new(format!("containerd-pool-snap-{number:06}"))
}
