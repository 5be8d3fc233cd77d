//! Flight recordings, which anybody may have damaged: `tandem replay` tells what is wrong.

use tandem::flight::{Replay, Segment};

/// How much of a recording is replayed.
const INPUTS_MAX: usize = 200;

/// The first byte says whether the lines that follow have their checksums already.
pub fn run(data: &[u8]) {
    let Some((kind, text)) = data.split_first() else { return };
    if kind & 1 == 0 {
        replay(text);
    } else {
        replay(&sealed(text));
    }
}

fn replay(bytes: &[u8]) {
    let Ok(mut segment) = Segment::open(bytes) else { return };
    let Ok((mut replay, _)) = Replay::begin(&mut segment, None) else { return };
    for _ in 0..INPUTS_MAX {
        let Ok(Some((at, input))) = segment.next_input() else { return };
        replay.step(at, input);
    }
}

/// The lines as the recorder ends them: with a checksum of all lines so far.
fn sealed(text: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    let mut sum = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let mut hasher = crc32fast::Hasher::new_with_initial(sum);
        hasher.update(line);
        sum = hasher.finalize();
        let [a, b, c, d] = sum.to_be_bytes();
        sealed.extend_from_slice(line);
        sealed.extend_from_slice(format!("*{:02x}{:02x}\n", a ^ c, b ^ d).as_bytes());
    }
    sealed
}
