//! Which known word somebody probably meant.

/// The longest word that is compared; a longer one is nobody's slip of the pen.
const WORD_LEN_MAX: usize = 64;

/// The word of `known` nearest to `word`, if it is near enough to be meant: one slip in three
/// letters. Capitals and `_` for `-` cost nothing. Nothing if several are equally near.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = plain(word);
    let slips_max = word.len().div_ceil(3).min(3);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|(slips, candidate)| {
            *slips <= slips_max && *slips < word.len().min(candidate.chars().count())
        })
        .collect();
    near.sort_by_key(|(slips, _)| *slips);
    match near.as_slice() {
        [] => None,
        [(first, _), (second, _), ..] if first == second => None,
        [(_, candidate), ..] => Some(candidate),
    }
}

/// `word` in the form in which slips are counted.
fn plain(word: &str) -> Vec<char> {
    let lower = word.chars().flat_map(char::to_lowercase);
    lower.map(|c| if c == '_' { '-' } else { c }).take(WORD_LEN_MAX).collect()
}

/// How many letters must be put in, left out, replaced or exchanged with their neighbour (optimal
/// string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut two_up: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut a_before = None;
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i.saturating_add(1)];
        let mut b_before = None;
        for (j, &to) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&above, j).saturating_add(usize::from(from != to)))
                .min(at(&above, j.saturating_add(1)).saturating_add(1))
                .min(at(&row, j).saturating_add(1));
            if a_before == Some(to) && b_before == Some(from) {
                let exchanged = at(&two_up, j.saturating_sub(1)).saturating_add(1);
                best = best.min(exchanged);
            }
            row.push(best);
            b_before = Some(to);
        }
        a_before = Some(from);
        two_up = core::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        let count = |a: &str, b: &str| distance(&plain(a), &plain(b));
        assert_eq!(count("deadtime", "deadtime"), 0);
        assert_eq!(count("kepalive", "keepalive"), 1);
        assert_eq!(count("deadtiem", "deadtime"), 1);
        assert_eq!(count("key_FILE", "key-file"), 0);
        assert_eq!(count("", "nic"), 3);
        assert_eq!(count("nic", ""), 3);
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["keepalive", "warntime", "deadtime", "initdead"];
        assert_eq!(nearest("dead-time", known), Some("deadtime"));
        assert_eq!(nearest("warn", known), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("hb2", ["hb0", "hb1"]), None, "either may be meant");
        assert_eq!(nearest("eht1", ["eth0", "eth1"]), Some("eth1"));
    }
}
