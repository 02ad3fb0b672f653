//! Turns counted, no clock.

use super::*;

fn needs(cost: u64) -> Needs {
    Needs {
        cost,
        room: cost,
        most: u32::MAX,
    }
}

/// An order, and whose each ticket is.
struct Play {
    order: Order<u8>,
    tickets: HashMap<Ticket, (u8, Needs)>,
    running: VecDeque<Ticket>,
    turns: Vec<u8>,
    away: Vec<u8>,
}

impl Play {
    fn new(order: Order<u8>) -> Self {
        Self {
            order,
            tickets: HashMap::new(),
            running: VecDeque::new(),
            turns: Vec::new(),
            away: Vec::new(),
        }
    }

    fn moved(&mut self, moved: Moved) {
        for ticket in moved.turns {
            self.running.push_back(ticket);
            self.turns.push(self.tickets[&ticket].0);
        }
        self.away.extend(moved.away.iter().map(|t| self.tickets[t].0));
    }

    fn enter(&mut self, who: u8, needs: Needs) -> Ticket {
        let (ticket, moved) = self.order.enter(&who, needs);
        self.tickets.insert(ticket, (who, needs));
        self.moved(moved);
        ticket
    }

    /// Ends the oldest turn.
    fn end(&mut self, used: Option<u64>) {
        let ticket = self.running.pop_front().unwrap();
        let (who, needs) = self.tickets[&ticket];
        let moved = self.order.end(&who, needs, used);
        self.moved(moved);
    }
}

#[test]
fn a_hundred_requests_of_one_tenant_hold_up_anothers_single_one_by_what_runs_alone() {
    for slots in [1, 4] {
        let mut play = Play::new(Order::new(slots, 1000, None));
        for _ in 0..100 {
            play.enter(b'a', needs(500));
        }
        assert_eq!(play.turns.len(), slots as usize);
        play.enter(b'b', needs(500));
        play.end(None);
        assert_eq!(play.turns[slots as usize], b'b', "after what ran when it came");
    }
}

#[test]
fn a_tenant_that_comes_anew_waits_for_one_turn_of_each_who_waits() {
    let mut play = Play::new(Order::new(1, 1000, None));
    for who in [b'a', b'b', b'c', b'd'] {
        for _ in 0..20 {
            play.enter(who, needs(100));
        }
    }
    for _ in 0..9 {
        play.end(None);
    }
    let before = play.turns.len();
    play.enter(b'n', needs(100));
    while !play.turns.contains(&b'n') {
        play.end(None);
    }
    assert!(play.turns.len() - before <= 5, "{:?}", play.turns);
    let between: Vec<_> = play.turns[before..].to_vec();
    for who in [b'a', b'b', b'c', b'd'] {
        assert!(between.iter().filter(|w| **w == who).count() <= 1, "{between:?}");
    }
}

#[test]
fn over_time_each_gets_the_same_tokens_whatever_its_requests_are() {
    let mut play = Play::new(Order::new(2, 1000, None));
    for _ in 0..200 {
        play.enter(b'a', needs(10));
    }
    for _ in 0..50 {
        play.enter(b'b', needs(100));
    }
    for _ in 0..50 {
        play.end(None);
    }
    let tokens = |who: u8, each: u64| play.turns.iter().filter(|w| **w == who).count() as u64 * each;
    assert!(tokens(b'a', 10).abs_diff(tokens(b'b', 100)) <= 200, "{:?}", play.turns);
}

#[test]
fn what_was_used_counts_in_place_of_what_was_expected() {
    let mut play = Play::new(Order::new(1, 1000, None));
    for _ in 0..40 {
        play.enter(b'a', needs(1000));
        play.enter(b'b', needs(1000));
    }
    // Those of `a` are a tenth as long as they may be.
    for _ in 0..21 {
        let who = *play.turns.last().unwrap();
        play.end(Some(if who == b'a' { 100 } else { 1000 }));
    }
    let count = |who: u8| play.turns.iter().filter(|w| **w == who).count();
    assert!(count(b'a') >= 9 * count(b'b'), "{:?}", play.turns);
}

#[test]
fn nobody_starves_however_many_come_anew() {
    let mut play = Play::new(Order::new(1, 1000, None));
    play.enter(b'a', needs(1000));
    play.enter(b'x', needs(1));
    play.end(None);
    play.enter(b'a', needs(1000));
    // 500 ahead of its share: who comes anew has 100 of them each, and there are two at a time.
    let before = play.turns.len();
    for who in 0..20 {
        play.enter(who, needs(100));
        play.end(None);
    }
    let waited = play.turns[before..].iter().position(|who| *who == b'a');
    assert!(
        waited.is_some_and(|turns| (5..=20).contains(&turns)),
        "{:?}",
        play.turns
    );
}

#[test]
fn the_newest_of_whoever_has_most_waiting_is_turned_away() {
    let mut play = Play::new(Order::new(1, 3, None));
    let enter = |play: &mut Play, who: u8| {
        play.enter(who, needs(1));
    };
    for _ in 0..6 {
        enter(&mut play, b'a');
    }
    assert_eq!(play.away, [b'a', b'a'], "one runs, three wait");
    enter(&mut play, b'b');
    assert_eq!(play.away, [b'a', b'a', b'a'], "another tenant has a place all the same");
    enter(&mut play, b'b');
    assert_eq!(
        play.away,
        [b'a', b'a', b'a', b'b'],
        "as many as the other: the one that came"
    );
    let mut none = Play::new(Order::new(2, 0, None));
    for _ in 0..3 {
        enter(&mut none, b'a');
    }
    assert_eq!(
        (none.turns.len(), none.away.len()),
        (2, 1),
        "nobody waits where nobody may"
    );
}

#[test]
fn a_tenant_has_as_many_at_a_time_as_it_may_and_others_pass() {
    let mut play = Play::new(Order::new(4, 100, None));
    let two = Needs { most: 2, ..needs(10) };
    for _ in 0..5 {
        play.enter(b'a', two);
    }
    assert_eq!(play.turns, [b'a', b'a']);
    play.enter(b'b', needs(1000));
    play.enter(b'b', needs(1000));
    assert_eq!(play.turns, [b'a', b'a', b'b', b'b']);
    play.end(None);
    assert_eq!(play.turns.len(), 5);
}

#[test]
fn what_does_not_fit_waits_and_nobody_passes_it_by() {
    let mut play = Play::new(Order::new(8, 100, Some(1000)));
    play.enter(b'a', needs(600));
    play.enter(b'b', needs(500));
    play.enter(b'c', needs(100));
    assert_eq!(play.turns, [b'a']);
    play.end(None);
    assert_eq!(play.turns, [b'a', b'b', b'c']);
    // More than there is room for runs alone.
    play.enter(b'd', needs(5000));
    play.end(None);
    assert_eq!(play.turns.len(), 3);
    play.end(None);
    assert_eq!(play.turns, [b'a', b'b', b'c', b'd']);
}

#[test]
fn whoever_leaves_frees_its_place_and_what_it_held_up() {
    let mut play = Play::new(Order::new(8, 100, Some(1000)));
    play.enter(b'a', needs(600));
    let large = play.enter(b'b', needs(900));
    play.enter(b'c', needs(100));
    let moved = play.order.leave(&b'b', large);
    play.moved(moved);
    assert_eq!(play.turns, [b'a', b'c']);
    let again = play.order.leave(&b'b', large);
    assert_eq!(again, Moved::default());
    play.end(None);
    play.end(None);
    assert!(play.order.tenants.is_empty() && play.order.waiting == 0 && play.order.taken == 0);
}
