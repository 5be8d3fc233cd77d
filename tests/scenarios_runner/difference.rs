//! The difference of two texts, line by line, for people.

/// How many lines of a difference are shown.
const SHOWN_MAX: usize = 40;
/// How many equal lines are shown before the first difference.
const BEFORE: usize = 3;

/// The first line that differs, counted from 1, and the difference: what was expected with `-`,
/// what came with `+`. Nothing if the texts are equal.
pub fn difference(expected: &str, actual: &str) -> Option<(usize, String)> {
    if expected == actual {
        return None;
    }
    let old: Vec<&str> = expected.lines().collect();
    let new: Vec<&str> = actual.lines().collect();
    let same = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let shared = shared(&old[same..], &new[same..]);
    let mut lines: Vec<String> =
        old[same.saturating_sub(BEFORE)..same].iter().map(|line| format!("  {line}")).collect();
    let (mut i, mut j) = (same, same);
    while i < old.len() || j < new.len() {
        let rest = shared[i - same][j - same];
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(format!("  {}", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len() && (j == new.len() || shared[i + 1 - same][j - same] == rest) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    let left_off = lines.len().saturating_sub(SHOWN_MAX);
    lines.truncate(SHOWN_MAX);
    if left_off > 0 {
        lines.push(format!("  ({left_off} more lines)"));
    }
    Some((same + 1, lines.join("\n")))
}

/// By place in both: the length of the longest sequence of lines that the rests share.
fn shared(old: &[&str], new: &[&str]) -> Vec<Vec<usize>> {
    let mut table = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            table[i][j] = if old[i] == new[j] {
                table[i + 1][j + 1] + 1
            } else {
                table[i + 1][j].max(table[i][j + 1])
            };
        }
    }
    table
}

#[test]
fn a_difference_names_its_first_line_and_shows_both() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    let (line, text) = difference("a\nb\nc\nd\n", "a\nx\nc\nd\ne\n").unwrap();
    assert_eq!((line, text.as_str()), (2, "  a\n- b\n+ x\n  c\n  d\n+ e"));
    let (line, text) = difference("a\n", "a").unwrap();
    assert_eq!((line, text.as_str()), (2, "  a"), "only the end of the line differs");
}
