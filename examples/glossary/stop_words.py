"""Words that every text has and no term contains."""

_BEFORE_NOUNS = "a an at between by each every for from in no of on per that the this whose with"

_AFTER_NOUNS = "are can had has have is may must of was were will would"

_ENGLISH = """
able about above across actual actually add added adding additional adds after again against ago all allow allowed
allows almost alone along already also although always am among and another any anybody anyone anything anywhere are
arg args around as aside asked available away back be became because become been before began being below beside
better big bool both bring but called came can cannot case cases certain come comes correct could create created
creates creating current currently default defaults did different do does doing done down during either else end
enough entire etc even ever everyone everything example except fact false far few first fix fixed fixes following
follows found full further get gets give given gives go goes going gone good got great had half has have having he
held help hence her here him himself his how however if include included includes including instead int into is it its
itself just keep keeps kept kind know known large last later latest least left less let lets like little long look lot
lots made make makes making many may maybe me means might mine more most much multiple must my myself name near need
needed needs neither never new next nobody non none nor not note nothing now number off often old once one ones only
onto optional or original other others otherwise our ours out over own part parts perhaps place please point possible
previous put raise raises rather real really remove removed removes rest return returned returning returns right s
said same say says second see seem seems seen set several shall she should show shown shows similar since single small
so some somebody someone something soon special specific still str such sure t take taken takes tell tells than thanks
their them then there therefore these they thing things think third those though three through thus time times to todo
together told too took toward true try two under unless until up upon us use used uses using usually various very via
want wants was way ways we well went were what whatever when whenever where whether which while who whole whom why
will within without word words worked would yes yet you your yours
"""

_JAPANESE = """
場合 以上 以下 以外 以前 以後 以降 必要 可能 自分 自身 自体 一切 今回 今後 最初 最後 最大
最小 全部 一部 一方 他方 同様 同時 次回 前回 複数 各種 現在 通常 特定 途中 直接 十分 簡単
程度 本当 大切 大事 人間 時間 存在 意味 問題 理由 例外 内容 今日 明日 昨日
"""

BEFORE_NOUNS = frozenset(_BEFORE_NOUNS.split())
"""English articles and prepositions: a single word after one of them is a noun."""
AFTER_NOUNS = frozenset(_AFTER_NOUNS.split())
"""Words that follow a noun rather than a verb."""
ENGLISH_STOP_WORDS = BEFORE_NOUNS | frozenset(_ENGLISH.split())
JAPANESE_STOP_WORDS = frozenset(_JAPANESE.split())
