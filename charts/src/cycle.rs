//! The lines that `make e2e-bench` prints of a snapshotter's cycle.

/// The setups, by the names that the benchmark gives them, and those that a chart shows.
pub const SETUPS: [(&str, &str); 3] = [
    ("stock", "containerd's store"),
    ("swap", "this store in containerd"),
    ("proxy", "this store in the proxy"),
];

/// What a step cost on average.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub flushes: f64,
    pub milliseconds: f64,
}

/// A step of the cycle, with one delay of a flush.
#[derive(Debug, PartialEq)]
pub struct Step {
    pub name: String,
    /// One for each of [`SETUPS`].
    pub costs: [Cost; 3],
}

/// What was measured with one delay of a flush.
#[derive(Debug, PartialEq)]
pub struct Delay {
    pub milliseconds: u32,
    /// The steps in their order, without the whole cycle.
    pub steps: Vec<Step>,
}

/// A line of the benchmark.
struct Line {
    setup: usize,
    delay: u32,
    step: String,
    cost: Cost,
}

/// Takes the means of all rounds out of what the benchmark has printed, by delay.
pub fn parse(text: &str) -> Result<Vec<Delay>, String> {
    let lines: Vec<Line> = text.lines().filter_map(line).collect();
    let mut delays: Vec<Delay> = Vec::new();
    for milliseconds in in_order(lines.iter().map(|line| line.delay)) {
        let of_delay = || lines.iter().filter(|line| line.delay == milliseconds);
        let names = in_order(of_delay().map(|line| &line.step));
        let steps = names.into_iter().map(|name| {
            let mean = |setup| mean(of_delay().filter(|l| l.setup == setup && l.step == *name));
            let costs = [mean(0), mean(1), mean(2)];
            let [Some(stock), Some(swap), Some(proxy)] = costs else {
                return Err(format!("not every setup has the step {name:?}"));
            };
            Ok(Step {
                name: name.clone(),
                costs: [stock, swap, proxy],
            })
        });
        delays.push(Delay {
            milliseconds,
            steps: steps.collect::<Result<_, _>>()?,
        });
    }
    match delays.is_empty() {
        true => Err("no step of a cycle in it; make it with `make e2e-bench`".into()),
        false => Ok(delays),
    }
}

/// The values in the order in which they first come.
fn in_order<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for value in values {
        if !once.contains(&value) {
            once.push(value);
        }
    }
    once
}

fn mean<'l>(lines: impl Iterator<Item = &'l Line>) -> Option<Cost> {
    let (mut sum, mut count) = (Cost::default(), 0.0);
    for line in lines {
        sum.flushes += line.cost.flushes;
        sum.milliseconds += line.cost.milliseconds;
        count += 1.0;
    }
    (count > 0.0).then(|| Cost {
        flushes: sum.flushes / count,
        milliseconds: sum.milliseconds / count,
    })
}

/// Such as `swap, delay 5 ms, prepare: 3.0 flushes, 120 ms`, behind whatever a log puts before it.
fn line(text: &str) -> Option<Line> {
    let (before, rest) = text.split_once(", delay ")?;
    let setup = before.split_whitespace().last()?;
    let setup = SETUPS.iter().position(|(name, _)| *name == setup)?;
    let (delay, rest) = rest.split_once(" ms, ")?;
    let (step, rest) = rest.split_once(": ")?;
    let (flushes, rest) = rest.split_once(" flushes, ")?;
    let milliseconds = rest.trim_end().strip_suffix(" ms")?;
    (step != "cycle").then_some(())?;
    Some(Line {
        setup,
        delay: delay.parse().ok()?,
        step: step.into(),
        cost: Cost {
            flushes: flushes.parse().ok()?,
            milliseconds: milliseconds.parse().ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
=== BENCH
    bench_test.go:108: flushes and time of a cycle:
        stock, delay 0 ms, prepare: 20.0 flushes, 300 ms
        stock, delay 0 ms, commit: 18.0 flushes, 200 ms
        stock, delay 0 ms, cycle: 38.0 flushes, 500 ms
        swap, delay 0 ms, prepare: 8.0 flushes, 280 ms
        swap, delay 0 ms, commit: 7.0 flushes, 190 ms
        proxy, delay 0 ms, prepare: 8.0 flushes, 290 ms
        proxy, delay 0 ms, commit: 7.0 flushes, 180 ms
        stock, delay 0 ms, prepare: 22.0 flushes, 340 ms
        stock, delay 5 ms, prepare: 20.0 flushes, 500 ms
        swap, delay 5 ms, prepare: 8.0 flushes, 300 ms
        proxy, delay 5 ms, prepare: 8.0 flushes, 310 ms
";

    #[test]
    fn rounds_are_averaged_by_delay_setup_and_step() {
        let delays = parse(PRINTED).unwrap();
        assert_eq!(delays.len(), 2);
        assert_eq!((delays[0].milliseconds, delays[1].milliseconds), (0, 5));
        let names: Vec<&str> = delays[0].steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["prepare", "commit"]);
        let stock = Cost {
            flushes: 21.0,
            milliseconds: 320.0,
        };
        assert_eq!(delays[0].steps[0].costs[0], stock);
        assert_eq!(delays[0].steps[1].costs[2].milliseconds, 180.0);
        assert_eq!(delays[1].steps[0].costs[1].flushes, 8.0);
    }

    #[test]
    fn text_without_steps_and_one_without_a_setup_are_refused() {
        for text in [
            "",
            "ok  e2e 300s\n",
            "swap, delay x ms, prepare: 1 flushes, 2 ms\n",
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains("make e2e-bench"), "{why}");
        }
        let cut = &PRINTED[..PRINTED.find("proxy").unwrap()];
        let why = parse(cut).unwrap_err();
        assert!(why.contains("prepare"), "{why}");
    }
}
