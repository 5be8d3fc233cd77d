//! Random walks through the worlds of the exhaustive search: clocks go as they like, messages come
//! late or never, and every order of events can be met, with more machines, more messages under way
//! and more faults than can be searched.

use super::World;
use super::plan::{MACHINES_MAX, Plan, ms};
use super::random::Random;
use super::search::{Budget, Move, State, small_plan};

/// How long a walk is.
const MOVES: u32 = 600;

/// Walks as `seed` says, with a story if somebody wants to read it; the world at its end.
pub fn run(seed: u64, kept: bool) -> World {
    let mut random = Random::new(seed);
    let mut state = begin(&mut random);
    state.world.story.kept = kept;
    let mut moves = Vec::new();
    for _ in 0..MOVES {
        state.moves(&mut moves);
        if moves.is_empty() {
            break;
        }
        // What machines say and do goes on more often than time and faults strike.
        let mut one = random.choose(&moves);
        for _ in 0..2 {
            if !matches!(one, Move::Take(_)) {
                one = random.choose(&moves);
            }
        }
        if kept {
            let what = state.describe(one);
            state.world.note_fault(|| what);
        }
        state.apply(one);
    }
    state.world
}

fn begin(random: &mut Random) -> State {
    let levels: [&[u8]; 5] = [&[], &[], &[1], &[1, 1], &[2]];
    let nodes = random.choose(&[2, 3, 3]);
    let mut plan = Plan { blind: random.percent(70), ..small_plan(nodes, random.choose(&levels)) };
    plan.preferred = random.choose(&[None, None, Some(1), Some(2)]);
    plan.fence_delays = [ms(0); MACHINES_MAX];
    let mut up_to = |most: u64| random.below(most + 1) as u8;
    let budget = Budget {
        kills: up_to(4),
        stops: up_to(4),
        stalls: up_to(3),
        losses: up_to(4),
        returns: up_to(6),
        devices: up_to(2),
        carriers: up_to(2),
        confirms: up_to(2),
    };
    let mut state = State::new(World::new(plan), budget);
    state.in_flight = 1 + random.below(3) as usize;
    state
}
