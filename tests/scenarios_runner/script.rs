//! A script: its lines, understood and then played one after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::phrase::{PLACES, Value, Values, fit, resemblance, words};
use super::stage::Stage;
use super::vocabulary::{CHAPTERS, CONDITIONS, Condition, Phrase};

/// What the player knows itself: the pattern, and what it means.
pub const PLAYED: [(&str, &str); 3] = [
    ("run TIME", "lets time go by"),
    ("until CONDITION, within TIME", "lets time go by until it is so; fails if it is not in time"),
    ("expect CONDITION", "fails unless it is so now"),
];
/// How many phrases a complaint suggests.
const SUGGESTIONS_MAX: usize = 4;
/// How much of the transcript a complaint shows.
const LINES_SHOWN: usize = 15;

/// A line of a script, understood.
enum Line {
    Act { phrase: &'static Phrase, told: bool, values: Values },
    Run(Values),
    Until { condition: &'static Condition, values: Values },
    Expect { condition: &'static Condition, values: Values },
}

/// Plays the script `text`. The transcript, or what is wrong, with its line.
pub fn play(text: &str) -> Result<String, String> {
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            let parsed = parse(line).map_err(|complaint| format!("{number}: {complaint}"))?;
            lines.push((number, line, parsed));
        }
    }
    let mut stage = Stage::new();
    for (number, line, parsed) in lines {
        let played = catch_unwind(AssertUnwindSafe(|| perform(&mut stage, line, &parsed)));
        let played = played.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map_or("it panicked", String::as_str);
            Err(format!("the world ended: {text}"))
        });
        played.map_err(|complaint| {
            let lines = stage.last_lines(LINES_SHOWN);
            format!("{number}: {line}: {complaint}; so far:\n{lines}")
        })?;
    }
    match stage.transcript() {
        transcript if transcript.is_empty() => Err("1: nothing happens in it".to_owned()),
        transcript => Ok(transcript),
    }
}

/// All patterns that a script can have, with the title of their chapter.
pub fn patterns() -> Vec<(&'static str, Vec<&'static str>)> {
    let chapters = CHAPTERS.iter().map(|chapter| {
        (chapter.title, chapter.phrases.iter().map(|phrase| phrase.pattern).collect())
    });
    let conditions = CONDITIONS.iter().map(|condition| condition.pattern).collect();
    let played = PLAYED.iter().map(|(pattern, _)| *pattern).collect();
    chapters.chain([("Time and expectations", played), ("Conditions", conditions)]).collect()
}

/// The patterns of all lines of a script: which phrases and conditions it uses.
pub fn used(text: &str) -> Vec<&'static str> {
    let lines = text.lines().filter_map(|line| parse(line.trim()).ok());
    lines
        .map(|line| match line {
            Line::Act { phrase, .. } => phrase.pattern,
            Line::Run(_) => "run TIME",
            Line::Until { condition, .. } | Line::Expect { condition, .. } => condition.pattern,
        })
        .collect()
}

fn parse(line: &str) -> Result<Line, String> {
    let words = words(line);
    match words.first().map(String::as_str) {
        Some("run") => match fit("run TIME", &words) {
            Some(values) => Ok(Line::Run(values)),
            None => Err(complaint(line, &words, &["run TIME"])),
        },
        Some("until") => {
            let within = words.len().checked_sub(2).filter(|at| words[*at] == "within");
            let time = within.and_then(|at| fit("within TIME", &words[at..]));
            let (Some(at), Some(time)) = (within, time) else {
                return Err(complaint(line, &words, &["until CONDITION, within TIME"]));
            };
            let (condition, mut values) = condition(line, &words[1..at])?;
            values.0.extend(time.0);
            Ok(Line::Until { condition, values })
        }
        Some("expect") => {
            let (condition, values) = condition(line, &words[1..])?;
            Ok(Line::Expect { condition, values })
        }
        _ => {
            for chapter in &CHAPTERS {
                for phrase in chapter.phrases {
                    if let Some(values) = fit(phrase.pattern, &words) {
                        return Ok(Line::Act { phrase, told: chapter.told, values });
                    }
                }
            }
            let all = CHAPTERS.iter().flat_map(|chapter| chapter.phrases);
            let all: Vec<&str> = all.map(|phrase| phrase.pattern).collect();
            Err(complaint(line, &words, &all))
        }
    }
}

fn condition(line: &str, words: &[String]) -> Result<(&'static Condition, Values), String> {
    for condition in &CONDITIONS {
        if let Some(values) = fit(condition.pattern, words) {
            return Ok((condition, values));
        }
    }
    let all: Vec<&str> = CONDITIONS.iter().map(|condition| condition.pattern).collect();
    Err(complaint(line, words, &all))
}

/// What is wrong with a line that fits nothing, and what could stand there.
fn complaint(line: &str, words: &[String], patterns: &[&str]) -> String {
    let mut near: Vec<&str> =
        patterns.iter().copied().filter(|pattern| resemblance(pattern, words).0 > 0).collect();
    near.sort_by_key(|pattern| core::cmp::Reverse(resemblance(pattern, words).1));
    if near.is_empty() {
        near = patterns.to_vec();
    }
    near.truncate(SUGGESTIONS_MAX);
    let mut text = format!("{line:?} is not understood; there could stand\n");
    for pattern in &near {
        text += &format!("    {pattern}\n");
    }
    for (place, meaning) in PLACES {
        if near.iter().any(|pattern| pattern.split(' ').any(|word| word == place)) {
            text += &format!("  where {place} is one of {meaning}\n");
        }
    }
    if near.iter().any(|pattern| pattern.contains("CONDITION")) {
        text += "  where CONDITION is, for example, `b is active`\n";
    }
    text + "  (everything that can: tests/scenarios/VOCABULARY.txt)"
}

fn perform(stage: &mut Stage, text: &str, line: &Line) -> Result<(), String> {
    match line {
        Line::Act { phrase, told, values } => {
            check(stage, values)?;
            if *told {
                stage.note(text);
            }
            (phrase.act)(stage, values)?;
            stage.follow();
            Ok(())
        }
        Line::Run(values) => stage.run(values.time(0)),
        Line::Until { condition, values } => {
            check(stage, values)?;
            let limit = values.time(values.0.len() - 1);
            match stage.run_until(limit, |stage| (condition.is_so)(stage, values))? {
                true => Ok(()),
                false => Err("it did not come to that in time".to_owned()),
            }
        }
        Line::Expect { condition, values } => {
            check(stage, values)?;
            stage.world()?;
            match (condition.is_so)(stage, values) {
                true => Ok(()),
                false => Err("it is not so".to_owned()),
            }
        }
    }
}

/// Whether the world has what the line names.
fn check(stage: &Stage, values: &Values) -> Result<(), String> {
    let plan = &stage.plan;
    for value in &values.0 {
        let (is_there, what) = match value {
            Value::Node(node) => (*node < usize::from(plan.nodes), "a node"),
            Value::Link(link) => (*link < plan.links, "a link"),
            Value::Nic(nic) => (*nic < usize::from(plan.nics), "a service NIC"),
            Value::Vip(vip) => (*vip < plan.vips, "a VIP"),
            Value::Device(_)
            | Value::Time(_)
            | Value::Number(_)
            | Value::State(_)
            | Value::Text(_) => (true, ""),
        };
        if !is_there {
            return Err(format!("it names {what} that the plan does not have"));
        }
    }
    Ok(())
}
