"""generate.py - Inputs for the real programs: written when they are needed, the same each time."""


def sql(scale):
    """Rows of text, indexes, joins and groups in a database in memory."""
    rows = max(100, int(250000 * scale))
    return f"""
create table person(id integer primary key, name text, city integer, note text);
create table city(id integer primary key, name text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < {rows})
  insert into person select i, 'name ' || (i * 7919 % {rows}), i * 31 % 997, hex(zeroblob(i % 60)) from n;
with recursive n(i) as (select 0 union all select i + 1 from n where i < 996)
  insert into city select i, 'city ' || i from n;
create index by_name on person(name);
create index by_city on person(city);
select count(*), sum(length(p.note)) from person p join city c on c.id = p.city where c.name like '%7%';
select c.name, count(*), group_concat(substr(p.name, 6, 3)) from person p join city c on c.id = p.city
  group by c.name order by 2 desc, 1 limit 5;
update person set note = note || upper(name) where id % 3 = 0;
delete from person where id % 5 = 0;
select count(*), sum(length(note)) from person where name in (select name from person where city < 300);
select substr(name, 1, 7), count(distinct note) from person group by 1 order by 2 desc, 1 limit 3;
"""


def cpp(scale):
    """Templates over the standard containers: the compiler's own heap is many small nodes."""
    del scale  # most of the time is spent in the headers
    kinds = "\n".join(f"template struct Use<{n}>;" for n in range(12))
    return f"""#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Key {{ int value; auto operator<=>(const Key&) const = default; }};
template <int N> struct Use {{
  std::map<Key<N>, std::vector<std::string>> ordered;
  std::unordered_map<std::string, std::tuple<Key<N>, std::shared_ptr<Use>>> hashed;
  std::variant<int, std::string, Key<N>> either;
  std::function<int(int)> call = [this](int x) {{ return x + static_cast<int>(ordered.size()); }};
  int work() {{
    ordered[Key<N>{{1}}].push_back("one");
    hashed.emplace("two", std::make_tuple(Key<N>{{2}}, nullptr));
    return std::visit([](auto&& v) {{ return static_cast<int>(sizeof v); }}, either) + call(N);
  }}
}};
{kinds}
"""


def postscript(scale):
    """Pages of curves, shadings of many steps, and text in many sizes."""
    pages = max(1, int(18 * scale))
    return f"""%!PS
/rnd {{ rand 1000 mod 1000 div }} def
7 srand
1 1 {pages} {{ /page exch def
  0 1 400 {{ /k exch def
    newpath rnd 500 mul 50 add rnd 700 mul 50 add moveto
    3 {{ 6 {{ rnd 600 mul }} repeat curveto }} repeat
    rnd rnd rnd setrgbcolor k 2 mod 0 eq {{ fill }} {{ rnd 4 mul setlinewidth stroke }} ifelse
  }} for
  0 setgray
  0 1 200 {{ /k exch def
    /Helvetica findfont k 20 mod 6 add scalefont setfont
    rnd 450 mul rnd 750 mul moveto (Tricolor ) show k 10 string cvs show
  }} for
  /store 3000 array def 0 1 2999 {{ dup store exch 20 string put pop }} for
  gsave /Helvetica-Bold findfont 90 scalefont setfont 60 400 moveto (clip me) false charpath clip
    0 1 300 {{ dup 2 mul 0 moveto 300 div setgray 0 800 rlineto stroke }} for grestore
  showpage
}} for
"""


def smt(scale):
    """Queens on growing boards in linear arithmetic: a fresh problem of many small terms for each size.

    Above 22 the search takes minutes for some sizes.
    """
    lines = ["(set-logic QF_LIA)"]
    for n in (14, 16, 18, 20)[: max(1, int(4 * scale))]:
        lines.append("(push)")
        lines += [f"(declare-const q{i} Int) (assert (and (<= 0 q{i}) (< q{i} {n})))" for i in range(n)]
        for term in ("q{0}", "(+ q{0} {0})", "(- q{0} {0})"):
            lines.append(f"(assert (distinct {' '.join(term.format(i) for i in range(n))}))")
        lines += ["(check-sat)", "(pop)"]
    return "\n".join(lines) + "\n"


def write_all(folder, scale):
    """Writes each input, and returns its path by its kind."""
    made = {
        "sql": ("rows.sql", sql),
        "c++": ("templates.cc", cpp),
        "postscript": ("pages.ps", postscript),
        "smt": ("clauses.smt2", smt),
    }
    for name, make in made.values():
        (folder / name).write_text(make(scale))
    return {kind: folder / name for kind, (name, _) in made.items()}
