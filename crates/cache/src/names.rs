//! Members of a guild in order: by id, and by name.
//!
//! A [`Part`] is made of many members at once and never changed; what comes later lies in smaller parts beside it, which are merged when
//! they have grown ([`crate::search`]), large ones in steps ([`Merging`]). Names lie in lower case, one after the other and sorted, so that those with a common beginning
//! are one stretch. Whose they are is told by the member's place in the list of ids, so that "the first by id" is the smallest number.
//!
//! Invariant: no question reads all names, except for one inside of them.

use std::ops::Range;

/// Names are indexed up to this many bytes; Discord's are at most 32 characters.
const NAME_BYTES_MAX: usize = u8::MAX as usize;
/// Names of one member, at most: nick, user name, global name, display name.
pub(crate) const NAMES_MAX: usize = 4;
/// Behind each name: no byte of a text, so that nothing that is looked for begins in one name and ends in the next.
const END: u8 = 0xFF;
/// A member that is no more in what is merged.
const GONE: u32 = u32::MAX;

/// What a name is looked for by, in lower case.
pub(crate) enum Needle {
    Whole(String),
    Start(String),
    Inside(String),
}

/// Some members, ascending, with all their names, if these are wanted.
#[derive(Default)]
pub(crate) struct Part {
    ids: Vec<u64>,
    names: Names,
}

/// Names in order. Of each: where it begins, whose it is, and where it is among the names in the order of members.
#[derive(Default)]
struct Names {
    text: Vec<u8>,
    /// One more than there are names.
    starts: Vec<u32>,
    /// Places in the list of ids.
    whose: Vec<u32>,
    /// All names' places, those of the first member first.
    by_member: Vec<u32>,
}

/// Names of members who come ascending by id, before they are sorted.
#[derive(Default)]
pub(crate) struct Gathered {
    ids: Vec<u64>,
    text: Vec<u8>,
    names: Vec<Raw>,
    /// The first of the member who came last.
    first: usize,
}

struct Raw {
    at: u32,
    len: u8,
    whose: u32,
}

impl Gathered {
    /// The next member, without names so far.
    pub(crate) fn member(&mut self, id: u64) {
        debug_assert!(self.ids.last().is_none_or(|last| *last < id), "members come ascending by id");
        self.ids.push(id);
        self.first = self.names.len();
    }

    /// A name of that member.
    pub(crate) fn name(&mut self, name: &str) {
        let at = self.text.len();
        lower(name, &mut self.text);
        self.text.truncate(at + NAME_BYTES_MAX);
        let (before, new) = self.text.split_at(at);
        // A nick is often the name once more.
        if self.names[self.first..].iter().any(|raw| before.get(raw.range()) == Some(new)) {
            self.text.truncate(at);
        } else {
            self.names.push(Raw { at: at as u32, len: new.len() as u8, whose: self.ids.len().saturating_sub(1) as u32 });
        }
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u64>() + self.text.capacity() + self.names.capacity() * size_of::<Raw>()
    }

    pub(crate) fn sorted(self) -> Part {
        let Gathered { ids, text, names: raw, .. } = self;
        let mut order: Vec<(u64, u32)> = (0..).zip(&raw).map(|(place, raw): (u32, &Raw)| (head(&text[raw.range()]), place)).collect();
        let name = |place: u32| &text[raw[place as usize].range()];
        order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| name(a.1).cmp(name(b.1))).then(a.1.cmp(&b.1)));
        let mut names = Names::with_room(text.len(), raw.len());
        order.iter().for_each(|(_, place)| names.push(name(*place), raw[*place as usize].whose));
        Part { names: names.closed(ids.len()), ids }
    }
}

impl Raw {
    fn range(&self) -> Range<usize> {
        self.at as usize..self.at as usize + usize::from(self.len)
    }
}

impl Part {
    /// Members whose names nobody wants.
    pub(crate) fn of_ids(mut ids: Vec<u64>) -> Part {
        ids.sort_unstable();
        ids.dedup();
        ids.shrink_to_fit();
        Part { ids, names: Names::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u64>() + self.names.bytes()
    }

    /// The first `many` members above `after`.
    pub(crate) fn after(&self, after: u64, many: usize) -> &[u64] {
        let rest = &self.ids[self.place_after(after)..];
        &rest[..rest.len().min(many)]
    }

    /// Members above `after` with such a name, perhaps more than once and in any order: all of them, or at least the first `many`.
    pub(crate) fn named(&self, needle: &Needle, after: u64, many: usize, mut each: impl FnMut(u64)) {
        let from = self.place_after(after) as u32;
        let mut of = |whose: u32| each(self.ids[whose as usize]);
        match needle {
            Needle::Inside(text) => drop(self.inside(text, after, usize::MAX, each)),
            Needle::Start(text) => self.names.first_of(self.names.range(text.as_bytes(), false), from, many, &mut of),
            Needle::Whole(text) => self.names.first_of(self.names.range(text.as_bytes(), true), from, many, &mut of),
        }
    }

    /// Members above `after` with a text inside one of their names, ascending, perhaps more than once, as far as `names_max` names go. Answers how
    /// many names were looked at, and up to which id no member was left out, unless that were all.
    pub(crate) fn inside(&self, text: &str, after: u64, names_max: usize, mut each: impl FnMut(u64)) -> (usize, Option<u64>) {
        let (names, from) = (&self.names, self.place_after(after) as u32);
        let first = point(0..names.len(), |place| names.whose[names.by_member[place] as usize] < from);
        let finder = memchr::memmem::Finder::new(text.as_bytes());
        let many = names_max.min(names.len() - first);
        for place in &names.by_member[first..first + many] {
            let place = *place as usize;
            if finder.find(names.name(place)).is_some() {
                each(self.ids[names.whose[place] as usize]);
            }
        }
        // Of whoever comes next, a name may have been looked at already, or not.
        let next = names.by_member.get(first + many).map(|place| self.ids[names.whose[*place as usize] as usize].saturating_sub(1));
        (many, next)
    }

    fn place_after(&self, after: u64) -> usize {
        self.ids.partition_point(|id| *id <= after)
    }
}

impl Names {
    fn with_room(text: usize, names: usize) -> Names {
        // Each name has its end, and so have all of them.
        let text = if names == 0 { 0 } else { text + names };
        let starts = if names == 0 { 0 } else { names + 1 };
        Names {
            text: Vec::with_capacity(text),
            starts: Vec::with_capacity(starts),
            whose: Vec::with_capacity(names),
            by_member: Vec::new(),
        }
    }

    /// The next name in order.
    fn push(&mut self, name: &[u8], whose: u32) {
        self.starts.push(self.text.len() as u32);
        self.text.extend_from_slice(name);
        self.text.push(END);
        self.whose.push(whose);
    }

    /// With all of them, and with their order by member.
    fn closed(self, members: usize) -> Names {
        let mut closing = Closing::new(self, members);
        while !closing.step(usize::MAX) {}
        closing.names
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + (self.starts.capacity() + self.whose.capacity() + self.by_member.capacity()) * size_of::<u32>()
    }

    fn len(&self) -> usize {
        self.whose.len()
    }

    fn name(&self, place: usize) -> &[u8] {
        &self.text[self.starts[place] as usize..self.starts[place + 1] as usize - 1]
    }

    /// The stretch of names that are `wanted`, or begin with it.
    fn range(&self, wanted: &[u8], whole: bool) -> Range<usize> {
        let wanted = &wanted[..wanted.len().min(NAME_BYTES_MAX)];
        let part = |place: usize| {
            let name = self.name(place);
            if whole { name } else { &name[..name.len().min(wanted.len())] }
        };
        let from = point(0..self.len(), |place| part(place) < wanted);
        from..point(from..self.len(), |place| part(place) <= wanted)
    }

    /// The first `many` members, from one on, who have a name in a stretch; or more of them.
    fn first_of(&self, stretch: Range<usize>, from: u32, many: usize, mut each: impl FnMut(u32)) {
        // Of a short stretch all are read. Of a long one the first members come soon where members are gone through in order: the fewer,
        // the longer it is. Where these costs meet, with ten names for one letter in a million and a thousand wanted, it is 30 000 steps.
        if stretch.len().saturating_mul(stretch.len()) > many.saturating_mul(self.len()) {
            let first = point(0..self.len(), |place| self.whose[self.by_member[place] as usize] < from);
            let (mut found, mut last) = (0, None);
            // Unless they are all old or all new members, which names that are alike may well belong to: then the stretch is shorter.
            for place in self.by_member[first..].iter().take(stretch.len().saturating_mul(2)) {
                if stretch.contains(&(*place as usize)) {
                    let whose = self.whose[*place as usize];
                    if last != Some(whose) {
                        if found == many {
                            return;
                        }
                        found += 1;
                        last = Some(whose);
                        each(whose);
                    }
                }
            }
            if self.len() - first <= stretch.len().saturating_mul(2) {
                return;
            }
        }
        let mut first: Vec<u32> = self.whose[stretch].iter().copied().filter(|whose| *whose >= from).collect();
        // Picked here, as small numbers that lie together, and not by whoever wants them as ids in order.
        let enough = many.saturating_mul(NAMES_MAX);
        if first.len() > enough {
            first.select_nth_unstable(enough);
            first.truncate(enough);
        }
        first.sort_unstable();
        first.dedup();
        first.into_iter().take(many).for_each(each);
    }
}

/// Names that are all there, on their way to their order by member.
struct Closing {
    names: Names,
    /// Where each member's next name goes among all in the order of members; before these are known, how many it has, at the place behind.
    next: Vec<u32>,
    /// Members whose places are known.
    summed: usize,
    /// Names that are in order.
    placed: usize,
}

impl Closing {
    fn new(mut names: Names, members: usize) -> Closing {
        if names.whose.is_empty() {
            return Closing { names: Names::default(), next: Vec::new(), summed: 0, placed: 0 };
        }
        names.starts.push(names.text.len() as u32);
        // Merging leaves out what is old.
        names.text.shrink_to_fit();
        names.starts.shrink_to_fit();
        names.whose.shrink_to_fit();
        Closing { names, next: vec![0; members + 1], summed: 0, placed: 0 }
    }

    /// Goes on with so many members or names; answers whether that was all.
    fn step(&mut self, many: usize) -> bool {
        let Names { whose, by_member, .. } = &mut self.names;
        if by_member.len() < whose.len() {
            // First all are counted, and `by_member` has the room that they take.
            let from = self.placed;
            let to = whose.len().min(from.saturating_add(many));
            whose[from..to].iter().for_each(|whose| self.next[*whose as usize + 1] += 1);
            self.placed = to;
            if to == whose.len() {
                *by_member = vec![0; to];
                self.placed = 0;
            }
            return false;
        }
        if self.summed + 1 < self.next.len() {
            let to = (self.next.len() - 1).min(self.summed.saturating_add(many));
            for at in self.summed..to {
                self.next[at + 1] += self.next[at];
            }
            self.summed = to;
            return false;
        }
        let to = whose.len().min(self.placed.saturating_add(many));
        for (place, whose) in (self.placed as u32..).zip(&whose[self.placed..to]) {
            let at = &mut self.next[*whose as usize];
            by_member[*at as usize] = place;
            *at += 1;
        }
        self.placed = to;
        to == whose.len()
    }

    fn bytes(&self) -> usize {
        self.names.bytes() + self.next.capacity() * size_of::<u32>()
    }
}

/// Two parts on their way to one: of members in both it has what the newer one says. It goes on in steps, and both parts stay as they are.
pub(crate) struct Merging {
    ids: Vec<u64>,
    /// Where the members of each part are in `ids`.
    olds: Vec<u32>,
    news: Vec<u32>,
    /// What was read of each part: members, then names.
    old: usize,
    new: usize,
    stage: Stage,
}

enum Stage {
    Ids,
    Names(Names),
    Closing(Closing),
}

impl Merging {
    pub(crate) fn new(older: &Part, newer: &Part) -> Merging {
        Merging {
            ids: Vec::with_capacity(older.len() + newer.len()),
            olds: Vec::with_capacity(older.len()),
            news: Vec::with_capacity(newer.len()),
            old: 0,
            new: 0,
            stage: Stage::Ids,
        }
    }

    /// Goes on with so many members or names; answers what both have, once that is all. `lives` says of the newer one's members whether they are
    /// still wanted. Always to be called with the same two parts.
    pub(crate) fn step(&mut self, older: &Part, newer: &Part, many: usize, lives: impl Fn(u64) -> bool) -> Option<Part> {
        match &mut self.stage {
            Stage::Ids => {
                if self.merge_ids(older, newer, many, lives) {
                    self.ids.shrink_to_fit();
                    (self.old, self.new) = (0, 0);
                    let room = older.names.text.len() + newer.names.text.len();
                    self.stage = Stage::Names(Names::with_room(room, older.names.len() + newer.names.len()));
                }
                None
            }
            Stage::Names(names) => {
                for _ in 0..many {
                    let (old, new) = (self.old < older.names.len(), self.new < newer.names.len());
                    if !old && !new {
                        self.stage = Stage::Closing(Closing::new(std::mem::take(names), self.ids.len()));
                        break;
                    }
                    let from_old = !new || (old && older.names.name(self.old) <= newer.names.name(self.new));
                    let (part, at, places) = if from_old { (older, &mut self.old, &self.olds) } else { (newer, &mut self.new, &self.news) };
                    let whose = places[part.names.whose[*at] as usize];
                    if whose != GONE {
                        names.push(part.names.name(*at), whose);
                    }
                    *at += 1;
                }
                None
            }
            Stage::Closing(closing) => {
                closing.step(many).then(|| Part { ids: std::mem::take(&mut self.ids), names: std::mem::take(&mut closing.names) })
            }
        }
    }

    fn merge_ids(&mut self, older: &Part, newer: &Part, many: usize, lives: impl Fn(u64) -> bool) -> bool {
        for _ in 0..many {
            let place = self.ids.len() as u32;
            match (older.ids.get(self.old), newer.ids.get(self.new)) {
                (Some(id), other) if other.is_none_or(|other| id < other) => {
                    self.ids.push(*id);
                    self.olds.push(place);
                    self.old += 1;
                }
                (same, Some(id)) => {
                    let wanted = lives(*id);
                    if wanted {
                        self.ids.push(*id);
                    }
                    self.news.push(if wanted { place } else { GONE });
                    self.new += 1;
                    if same == Some(id) {
                        self.olds.push(GONE);
                        self.old += 1;
                    }
                }
                // The first arm takes every other case.
                (_, None) => return true,
            }
        }
        false
    }

    pub(crate) fn bytes(&self) -> usize {
        let stage = match &self.stage {
            Stage::Ids => 0,
            Stage::Names(names) => names.bytes(),
            Stage::Closing(closing) => closing.bytes(),
        };
        self.ids.capacity() * size_of::<u64>() + (self.olds.capacity() + self.news.capacity()) * size_of::<u32>() + stage
    }
}

/// The first place of a range that is not so, where all that are so come first.
fn point(mut range: Range<usize>, so: impl Fn(usize) -> bool) -> usize {
    while !range.is_empty() {
        let middle = range.start + range.len() / 2;
        if so(middle) {
            range.start = middle + 1;
        } else {
            range.end = middle;
        }
    }
    range.start
}

/// The beginning of a name as a number in the same order.
fn head(name: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = name.len().min(8);
    head[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(head)
}

/// A name in lower case, behind what is in `out`: see [`lower_case`].
pub(crate) fn lower(name: &str, out: &mut Vec<u8>) {
    if name.is_ascii() {
        out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    } else {
        out.extend_from_slice(lower_case(name).as_bytes());
    }
}

/// A name in lower case, as names are compared. Each letter by itself: `str::to_lowercase` makes a sigma at the end of a word another one than
/// inside of it, and then the beginning of a name would not be the beginning of it any more.
#[must_use]
pub fn lower_case(name: &str) -> String {
    name.chars().flat_map(lower_letters).collect()
}

/// What a letter becomes in lower case; both sigmas are one.
#[inline]
pub(crate) fn lower_letters(letter: char) -> impl Iterator<Item = char> {
    letter.to_lowercase().map(|letter| if letter == 'ς' { 'σ' } else { letter })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stdout)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use trunkline_discord::Dice;

    fn text(dice: &mut Dice) -> String {
        let letters = ['a', 'a', 'a', 'B', 'ö', 'Ö', '漢', '\u{10FFFF}', '\0'];
        (0..dice.below(5)).map(|_| letters[dice.below(letters.len() as u64) as usize]).collect()
    }

    fn part(members: &BTreeMap<u64, Vec<String>>) -> Part {
        let mut gathered = Gathered::default();
        for (id, names) in members {
            gathered.member(*id);
            names.iter().for_each(|name| gathered.name(name));
        }
        gathered.sorted()
    }

    fn merged(older: &Part, newer: &Part, many: usize, lives: impl Fn(u64) -> bool) -> Part {
        let mut merging = Merging::new(older, newer);
        loop {
            let asked = std::cell::Cell::new(0);
            let lives = |id| {
                asked.set(asked.get() + 1);
                lives(id)
            };
            let before = merging.ids.len();
            let done = merging.step(older, newer, many, lives);
            assert!(asked.get() <= many, "no step goes through more than it is told to");
            match done {
                Some(part) => return part,
                None => assert!(merging.ids.len() - before <= many),
            }
        }
    }

    fn check(part: &Part, members: &BTreeMap<u64, Vec<String>>, dice: &mut Dice) {
        let wanted = lower_case(&text(dice));
        type Is = fn(&str, &str) -> bool;
        let needles: [(Needle, Is); 3] = [
            (Needle::Start(wanted.clone()), |name, wanted| name.starts_with(wanted)),
            (Needle::Whole(wanted.clone()), |name, wanted| name == wanted),
            (Needle::Inside(wanted.clone()), |name, wanted| name.contains(wanted)),
        ];
        let (after, many) = (dice.below(3_000), 1 + dice.below(30) as usize);
        for (needle, is) in needles {
            if matches!(needle, Needle::Inside(_)) && wanted.is_empty() {
                continue;
            }
            let mut found = BTreeSet::new();
            part.named(&needle, after, many, |id| found.extend([id]));
            let has = |names: &Vec<String>| names.iter().any(|name| is(&lower_case(name), &wanted));
            let fits: Vec<u64> = members.iter().filter(|(id, names)| **id > after && has(names)).map(|(id, _)| *id).collect();
            assert!(found.iter().all(|id| fits.contains(id)), "{wanted:?}: somebody who has no such name");
            let first: Vec<u64> = fits.into_iter().take(many).collect();
            assert_eq!(found.into_iter().take(many).collect::<Vec<_>>(), first, "{wanted:?} after {after}");
        }
        // In steps of so many names, which are more than anybody has.
        let mut inside = BTreeSet::new();
        let (mut from, names_max) = (after, 8 + dice.below(40) as usize);
        loop {
            let (looked, next) = part.inside(&wanted, from, names_max, |id| inside.extend([id]));
            assert!(looked <= names_max);
            let Some(next) = next else { break };
            assert!(next > from, "it gets on");
            from = next;
        }
        let has = |names: &Vec<String>| names.iter().any(|name| lower_case(name).contains(&wanted));
        let fits: BTreeSet<u64> = members.iter().filter(|(id, names)| **id > after && has(names)).map(|(id, _)| *id).collect();
        assert!(inside == fits || wanted.is_empty(), "{wanted:?} inside after {after}");
        assert_eq!(part.after(after, many), members.range(after + 1..).map(|(id, _)| *id).take(many).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_members_with_a_name_are_found_also_after_merging() {
        for seed in 0..12 {
            println!("seed={seed}");
            let mut dice = Dice::new(seed);
            let some = |dice: &mut Dice, many: u64| -> BTreeMap<u64, Vec<String>> {
                let alike = dice.below(2) == 0;
                let names = |dice: &mut Dice, id: u64| match alike && id > 2_000 {
                    true => vec!["aaa".to_owned()],
                    false => (0..dice.below(4)).map(|_| text(dice)).collect(),
                };
                (0..many).map(|_| 1 + dice.below(2_500)).collect::<BTreeSet<_>>().into_iter().map(|id| (id, names(dice, id))).collect()
            };
            let (mut older, many) = (some(&mut dice, 2_000), dice.below(600));
            let newer = some(&mut dice, many);
            (0..20).for_each(|_| check(&part(&older), &older, &mut dice));
            let lives = |id: u64| !id.is_multiple_of(7);
            let at_once = dice.below(3_000) as usize + 1;
            let merged = merged(&part(&older), &part(&newer), at_once, lives);
            older.extend(newer.clone());
            older.retain(|id, _| lives(*id) || !newer.contains_key(id));
            assert_eq!(merged.len(), older.len());
            (0..20).for_each(|_| check(&merged, &older, &mut dice));
        }
    }

    #[test]
    fn names_of_any_length_and_of_nobody_do_no_harm() {
        let members: BTreeMap<u64, Vec<String>> =
            [(5, vec!["x".repeat(254) + "öö"]), (6, vec![String::new()]), (u64::MAX, Vec::new())].into();
        let part = part(&members);
        let find = |needle: Needle| {
            let mut found = Vec::new();
            part.named(&needle, 0, 10, |id| found.push(id));
            found
        };
        assert_eq!(find(Needle::Start("x".repeat(254) + "ö")), [5], "a candidate by as much of the name as is kept");
        assert_eq!(find(Needle::Start("x".repeat(254))), [5]);
        assert_eq!(find(Needle::Whole(String::new())), [6]);
        assert_eq!(find(Needle::Inside("xöx".to_owned())), [0_u64; 0]);
        assert_eq!(part.after(6, 10), [u64::MAX]);
        assert!(Part::default().after(0, 10).is_empty());
        let none = merged(&Part::default(), &Part::of_ids(vec![9, 3, 9]), 1, |_| true);
        assert_eq!(none.after(0, 10), [3, 9]);
        none.named(&Needle::Start("x".to_owned()), 0, 10, |_| panic!("ids have no names"));
    }
}
