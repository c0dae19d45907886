-- Pandoc filter of the report, for Typst, LaTeX and HTML:
--   {{zadanie_1.mse.mean:.4f}}   a number from metrics.json, in Polish (format as in string.format; % gives per cent)
--   {{study.test.ae.mse}}        from study.json; with its spread, as many digits as the spread allows
--   @fig-x, [-@fig-x]            "Rysunek 3", "3"
--   ![Caption](file){#fig-x alt="..."}   a numbered figure that keeps its alternative text
--   ![Caption](file){#fig-x .dodatkowy alt="..."}   the same, numbered apart: A1, A2, ...
--   ::: obok                     the figures inside stand side by side; in LaTeX, below each other
--   ::: zrodla                   what made each figure and number, from provenance.json
--   \newpage                     a new page
--   [0,5]{.ustalone}             a number that is no result; typed without this it stops the build
--   [$q(z)$]{alt="q od z"}       a formula and how it is read; where it stands again it needs no alt
--   [VAE jest lepszy.]{claim="study.test.vae_kl.reconstruction_accuracy.mean > 0.7"}   a sentence that stops the build once it is false
-- Metadata: `results`, the folder of figures and numbers (default ../data/report).

local RESULTS = '../data/report'
local LOGO = RESULTS .. '/Znak_graficzny_AGH.svg.png' -- not ours to ship; where it exists it takes the cover's place
local STUDY = RESULTS .. '/study.json' -- drafts quote it too
local NBSP = '\u{a0}'
local results, provenance, draft
local papers -- names of those in references.bib
local quotable = {} -- what a text may quote of metrics.json and study.json, by key: numbers, names, means with a spread
local made = {} -- figures and sections that a notebook or the benchmark made, from provenance.json: maker, cell, runs, key
local unmade = {} -- sections of metrics.json that nothing made, or a notebook that is gone
local alternatives = {} -- of formulas, by their TeX
local claims, false_claims = {}, {} -- those that hold: sentence, predicate, values; those that don't: what to say of them
local figures = pandoc.List() -- in their order and by name: file, alt, width, extra, number, caption

local function is(format) return FORMAT:match(format) ~= nil end
local function raw(text) return pandoc.RawBlock(is 'latex' and 'latex' or 'typst', text) end

-- "line 12: ", where a text first stands in the source, however its lines are broken; pandoc's tree does not know.
local function place(text, part)
  local source = pandoc.system.read_file(PANDOC_STATE.input_files[1])
  local whole = text:find '^%a[%w_.]*$' and '%f[^%w_.]' or '' -- not the beginning of a longer key
  local start = source:find(text:gsub('%p', '%%%0'):gsub('%s+', '%%s+') .. whole)
  if not start then return part and place(part) or '' end
  local _, breaks = source:sub(1, start):gsub('\n', '')
  return 'line ' .. breaks + 1 .. ': '
end

-- Ends the build. text, part: of the source, to name their line.
local function stop(message, text, part)
  error('\n\n  report: ' .. (text and place(text, part) or '') .. message .. '\n', 0)
end

-- The candidate that shares most pairs of letters with a word, as a hint: '; did you mean "x"?'
local function closest(word, candidates)
  local best, most = nil, 0
  for _, candidate in ipairs(candidates) do
    local shared = 0
    for place = 1, #word - 1 do
      if candidate:find(word:sub(place, place + 1), 1, true) then shared = shared + 1 end
    end
    shared = shared - math.abs(#word - #candidate) / 2
    if shared > most then best, most = candidate, shared end
  end
  return best and '; did you mean "' .. best .. '"?' or ''
end

local function sorted_keys(map)
  local keys = pandoc.List()
  for key in pairs(map) do keys:insert(key) end
  keys:sort()
  return keys
end

-- Makes a value quotable by its key, and what is in it: "zadanie_1.mse.mean", "study.seeds.0".
local function make_quotable(value, key)
  local kind = type(value)
  if kind == 'number' or kind == 'string' or kind == 'table' and type(value.mean) == 'number' then quotable[key] = value end
  for name, part in pairs(kind == 'table' and value or {}) do
    make_quotable(part, (key == '' and '' or key .. '.') .. (type(name) == 'number' and name - 1 or name))
  end
end

local function find(key)
  if quotable[key] then return quotable[key] end
  local section = key:match '^[^.]+'
  if unmade[section] then stop('no notebook is on record as having made ' .. section, key) end
  stop('no number "' .. key .. '" in metrics.json or study.json' .. closest(key, sorted_keys(quotable)), key)
end

-- Decimals that leave a number of significant digits.
local function decimals(value, digits)
  return math.max(0, digits - 1 - (value > 0 and math.floor(math.log(value, 10)) or 0))
end

-- 1234.5 -> 1 234,5 with non-breaking spaces
local function polish(value, format)
  if type(value) == 'string' then return value end
  local percent = format:match '^(.*)%%$'
  format = percent or format
  local shown, text = percent and 100 * value or value, nil
  if format == 'd' or format == '' and math.tointeger(shown) then
    text = string.format('%d', math.tointeger(shown))
  else
    if format == '' then format = '.' .. decimals(math.abs(shown), 3) .. 'f' end
    text = string.format('%' .. format:gsub('f?$', 'f', 1), shown)
  end
  local sign, whole, rest = text:match '^(%-?)(%d+)(.*)$'
  if #whole > 4 then whole = whole:reverse():gsub('(%d%d%d)', '%1 '):reverse():gsub('^ ', ''):gsub(' ', NBSP) end
  return (sign == '-' and '−' or '') .. whole .. rest:gsub('%.', ',') .. (percent and NBSP .. '%' or '')
end

-- A number, or a mean with its spread: 0,0329 ± 0,0004; a spread that begins with a 1 has two digits.
local function written(key, format)
  local value = find(key)
  local percent = format:match '%%$' or ''
  if not (format == percent or format:match '^%.%d+[f%%]$' or format == 'd' and math.tointeger(value)) then
    stop('{{' .. key .. ':' .. format .. '}}: expected a format such as .2f, .1%, d for a whole number, or none', key)
  end
  if type(value) ~= 'table' then return polish(value, format) end
  local spread = value.deviation or value.error
  if format == percent then
    local digits = string.format('%e', spread):match '^1' and 2 or 1
    local shown = spread > 0 and { spread, digits } or { math.abs(value.mean), 3 } -- no spread says how many are sensible
    format = '.' .. decimals(shown[1] * (percent == '' and 1 or 100), shown[2]) .. 'f' .. percent
  end
  return polish(value.mean, format) .. NBSP .. '±' .. NBSP .. polish(spread, format)
end

local function fill(text) return (text:gsub('{{([%w_.]+):?([^}]*)}}', written)) end

local function fill_all(text)
  local filled = fill(text)
  if filled:find('{{', 1, true) or filled:find('}}', 1, true) then
    stop('"' .. text .. '": expected {{key}} or {{key:format}}, without spaces', text)
  end
  return filled
end

-- Whether a claim holds: comparisons of keys and numbers with + - * / ( ) abs, joined by and, or, not. And its values.
local function judge(claim)
  local key, values, words = '%a[%w_]*%.[%w_.]+', {}, { ['and'] = true, ['or'] = true, ['not'] = true, abs = true }
  local function expected(got)
    stop('claim "' .. claim .. '": expected comparisons of numbers joined by and, or, not; got ' .. got, claim)
  end
  local bare = claim:gsub(key, '')
  for word in bare:gmatch '[%a_]+' do
    if not words[word] then expected('"' .. word .. '"') end
  end
  -- Lua would read these, but not as an author means them
  for _, pattern in ipairs { '[^%w%s_.()<>=~+*/-]', '%-%-', 'not%s*[^%s(]', '%)%s*[=~]=', '[=~]=%s*%(' } do
    local odd = bare:match(pattern)
    if odd then expected('"' .. odd .. '"') end
  end
  local code = claim:gsub(key, function(name)
    local value = find(name)
    if type(value) ~= 'number' then expected(name .. ' = ' .. tostring(value)) end
    values[#values + 1] = name .. ' = ' .. value
    return string.format('(%.17g)', value)
  end)
  local chunk = load('return ' .. code, '=claim', 't', { abs = math.abs })
  local run, holds = pcall(chunk)
  if not run or type(holds) ~= 'boolean' then expected 'something else' end
  if #values == 0 then expected 'none of metrics.json or study.json' end
  return holds, table.concat(values, ', ')
end

local function check_claim(span, claim)
  local holds, values = judge(claim)
  local sentence = pandoc.utils.stringify(span)
  if not holds and not draft then -- the quick mode's models are worth nothing
    false_claims[#false_claims + 1] = place(claim) .. '„' .. sentence .. '” is no longer true: ' .. claim .. ' (' .. values .. ')'
  end
  claims[#claims + 1] = { sentence = sentence, claim = claim, values = values }
end

local function Span(span)
  local claim, alt = span.attributes.claim, span.attributes.alt
  if claim then check_claim(span, claim) end
  if alt then
    local math = #span.content == 1 and span.content[1].t == 'Math' and span.content[1].text
    if not math or alternatives[math] and alternatives[math] ~= alt then
      stop('[...]{alt="' .. alt .. '"}: expected one formula, said in one way everywhere', alt)
    end
    alternatives[math] = fill(alt)
  end
  if claim or alt or span.classes:includes 'ustalone' then return span.content end
end

-- The result that a typed number may stand for, as it is written: "{{key:.1f%}}".
local function reference(typed)
  local digits, percent = typed:match ',(%d+)', typed:match '%%'
  local format = (digits or percent) and '.' .. #(digits or '') .. (percent or 'f') or 'd'
  for _, key in ipairs(sorted_keys(quotable)) do
    local value = quotable[key]
    local fits = math.type(value) and (format ~= 'd' or math.tointeger(value) and not key:match '^study%.settings')
    if fits and polish(value, format) == typed then return '{{' .. key .. ':' .. format .. '}}' end
  end
end

-- Leaves of a text what its author may have typed as a result; of a constant, what a note to it says.
local TYPED = {
  Span = function(span)
    if not span.classes:includes 'ustalone' then return end
    return span.content:filter(function(inline) return inline.t == 'Note' end)
  end,
  Code = function() return {} end, -- names of things, not prose
  Math = function(math) return pandoc.Str((math.text:gsub('{,}', ','))) end,
}

-- Stops at a typed result: any decimal or percentage but 100 %, and a whole number from 1000 that is a result.
local function refuse_typed(block)
  local text = pandoc.utils.stringify(block):gsub('{{.-}}', ''):gsub('‰', '%%'):gsub(NBSP, ' '):gsub('%s+', ' ')
  local function refuse(typed, hint)
    local start = text:find(typed, 1, true)
    local context = text:sub(math.max(start - 15, 1), start + #typed - 1):match '%s(.*)' or typed
    typed = typed:gsub('%s*%%', NBSP .. '%%')
    stop('typed number "' .. typed .. '": a result is written ' .. hint .. ', a constant [' .. typed .. ']{.ustalone}',
      context, typed:match '^[%d.,]+')
  end
  for _, pattern in ipairs { '%d[%d.,]* ?%%', '%d+,%d+', '%f[%d]0%.%d+', '%d+%.%d%d+', '%d+ procent' } do
    for typed in text:gmatch(pattern) do
      if typed ~= '100 %' then refuse(typed, reference((typed:gsub(' ?%%', NBSP .. '%%'))) or '{{key:format}}') end
    end
  end
  for typed in text:gmatch '%f[%d]%d[%d ]*%f[%D]' do
    local number = tonumber((typed:gsub(' ', '')))
    local result = number >= 1000 and reference(polish(number, 'd'))
    if result then refuse(typed:match '^(.-)%s*$', result) end
  end
end

-- Where a picture of data/report/ is; a draft has its own, but for those of the benchmark.
local function relocate(path)
  local of = made[path:match '[^/]+$']
  local folder = of and of.maker == 'benchmark' and RESULTS or results
  return (path:gsub('^%.%./data/report', (folder:gsub('%%', '%%%%'))))
end

local function quoted(text) return '"' .. text:gsub('[\\"]', '\\%0') .. '"' end

local function inlines(content, format)
  return (pandoc.write(pandoc.Pandoc { pandoc.Plain(content) }, format):gsub('%s+$', ''))
end

-- Notes a figure with its number, in the order in which they stand.
local function note_figure(figure)
  local image, name = nil, figure.identifier
  figure:walk { Image = function(found) image = found end }
  if not image then return end
  local function wrong(message)
    stop('figure "' .. (name == '' and image.src or name) .. '": ' .. message, name == '' and image.src or '#' .. name)
  end
  local alt = pandoc.utils.stringify(image.caption) -- where pandoc puts alt="..."
  if not name:match '^fig%-' then wrong('expected a name, {#fig-name alt="what is to be seen"}, got none') end
  if figures[name] then wrong('expected a name of its own, got one that stands twice') end
  if alt == pandoc.utils.stringify(figure.caption.long) or alt == '' then
    wrong('expected alt="what is to be seen", got none or the caption again')
  end
  local base, width = image.src:match '^%.%./data/report/([^/]+)$', image.attributes.width or '100%'
  if not pandoc.path.exists(relocate(image.src)) then
    wrong('there is no ' .. image.src .. closest(image.src:match '[^/]+$', pandoc.system.list_directory(results)))
  end
  if not base or not made[base] then wrong('no notebook is on record as having made ' .. image.src) end
  if not width:match '^%d+%%$' then wrong('expected a width such as 80%, got ' .. width) end
  local extra = image.classes:includes 'dodatkowy'
  local number = #figures:filter(function(noted) return noted.extra == extra end) + 1
  figures[name] = { name = name, file = relocate(image.src), alt = fill_all(alt), width = width, extra = extra,
    number = (extra and 'A' or '') .. number }
  figures:insert(figures[name])
end

local function typst_figure(noted)
  local kind = noted.extra and ', kind: "dodatkowy", supplement: [Rysunek], numbering: n => "A" + str(n)' or ''
  return ('#figure(image(%s, width: %s, alt: %s), caption: [%s]%s) <%s>'):format(
    quoted(noted.file), noted.width, quoted(noted.alt), inlines(noted.caption, 'typst'), kind, noted.name)
end

-- Pandoc's writers draw a figure, but for Typst's, which drops the alternative text; its number is ours.
local function Figure(figure)
  local noted = figures[figure.identifier]
  if not noted then return end
  noted.caption = pandoc.utils.blocks_to_inlines(figure.caption.long)
  if is 'typst' then return raw(typst_figure(noted)) end
  local width = { width = noted.width }
  if is 'html' then
    width = { style = 'width:' .. noted.width }
    noted.caption:insert(1, pandoc.Str('Rysunek' .. NBSP .. noted.number .. ': '))
  end
  local image = pandoc.Image({ pandoc.Str(noted.alt) }, noted.file, '', width)
  local drawn = pandoc.Figure({ pandoc.Plain { image } }, { pandoc.Plain(noted.caption) }, { id = noted.name })
  return is 'latex' and { raw('\\renewcommand{\\thefigure}{' .. noted.number .. '}'), drawn } or drawn
end

-- Stops at a formula that pandoc can't read, with what is most often the matter.
local function readable(math)
  local tex = math.text:gsub('\\\\', ''):gsub('\\[{}]', '')
  local function count(pattern) return select(2, tex:gsub(pattern, '')) end
  local hint = 'is a command misspelt, or a $ missing?'
  for opens, closes in pairs { ['{'] = '}', ['\\left%A'] = '\\right%A', ['\\begin{'] = '\\end{' } do
    if count(opens) ~= count(closes) then
      hint = ('it has %d %s and %d %s'):format(count(opens), opens:gsub('%%A', ''), count(closes), closes:gsub('%%A', ''))
    end
  end
  local html = pandoc.write(pandoc.Pandoc { pandoc.Plain { math } }, 'html', { html_math_method = 'mathml' })
  if not html:find('<math', 1, true) then
    stop('formula $' .. math.text:gsub('%s+', ' '):sub(1, 80) .. '$: expected TeX that can be read; ' .. hint, math.text)
  end
end

local function stray_dollar(str)
  if str.text:find('$', 1, true) then
    stop('formula at "' .. str.text .. '": expected $ on both sides, without spaces inside; a plain dollar is \\$', str.text)
  end
end

-- Stops at what the filter does not know: a misspelt attribute or class would silently do nothing.
local ATTRIBUTES = { Span = pandoc.List { 'claim', 'alt' }, Image = pandoc.List { 'width' } }
local function plain_attributes(element)
  local known = ATTRIBUTES[element.t] or pandoc.List()
  for name, value in pairs(element.attributes) do
    local wanted = #known > 0 and table.concat(known, '="..." or ') .. '="..."' or 'none'
    if not known:includes(name) then
      stop('{' .. name .. '=...}: expected ' .. wanted .. ', got ' .. name, name .. '="' .. value .. '"', name .. '=' .. value)
    end
  end
  if element.classes:includes 'ustalone' then
    local text = pandoc.utils.stringify(element)
    local constant = text:gsub(NBSP, ' '):gsub('^−', ''):match '^%d[%d ]*,?%d* ?%%?$'
    if not constant then stop('[' .. text .. ']{.ustalone}: expected one number, got more', text) end
  end
end

local function plain_div(div)
  plain_attributes(div)
  local class = div.classes[1] or ''
  if class ~= 'obok' and class ~= 'zrodla' then stop('::: ' .. class .. ': expected ::: obok or ::: zrodla', '::: ' .. class) end
  local other = div.content:find_if(function(block) return block.t ~= 'Figure' end)
  if class == 'obok' and (other or #div.content == 0) then
    stop('::: obok: expected figures only', other and pandoc.utils.stringify(other) or '::: obok')
  end
end

local function plain_raw(element)
  if element.format ~= 'tex' or not element.text:match '^\\newpage%s*$' then
    stop('raw ' .. element.format .. ' "' .. element.text:match '^[^\n]*' .. '": expected Markdown or \\newpage', element.text)
  end
end

-- Stops at a citation of a figure or a paper that is not there.
local function known_citation(cite)
  for _, citation in ipairs(cite.citations) do
    local id, figure = citation.id, citation.id:match '^fig%-'
    local names = figure and figures:map(function(noted) return noted.name end) or papers
    if figure and (#cite.citations > 1 or #citation.prefix + #citation.suffix > 0) then
      stop('@' .. id .. ': expected a figure by itself, as in @fig-a i @fig-b', '@' .. id)
    elseif not names:includes(id) then
      stop('no ' .. (figure and 'figure' or 'paper in references.bib') .. ' "' .. id .. '"' .. closest(id, names), '@' .. id)
    end
  end
end

local function typst_formula(math)
  local alt, display = alternatives[math.text], math.mathtype == 'DisplayMath'
  if not alt then stop('formula $' .. math.text .. '$: expected [$...$]{alt="how it is read"} once', math.text) end
  local code = inlines({ math }, 'typst')
  return pandoc.RawInline('typst', ('#math.equation(block: %s, alt: %s, %s.body)'):format(display, quoted(alt), code))
end

local function typst_grid(div)
  local cells = div.content:map(function(figure) return '[' .. Figure(figure).text .. ']' end)
  return raw('#grid(columns: ' .. #cells .. ', gutter: 1em, ' .. table.concat(cells, ', ') .. ')')
end

-- Commit, machine and versions of a record of provenance.json, in words.
local function origin(record)
  local of = record.origin
  local tree = type(of.commit) ~= 'string' and 'zatwierdzenie niezapisane'
    or 'zatwierdzenie `' .. of.commit:sub(1, 10) .. '`' .. (of.clean and '' or ' ze zmianami')
  return ('%s; %s, rdzenie: %d, %s, Python %s, TensorFlow %s, Keras %s, NumPy %s'):format(tree, of.machine.processor,
    of.machine.cores, of.machine.system, of.machine.python, of.machine.tensorflow, of.machine.keras, of.machine.numpy)
end

-- What made each figure and the numbers of each notebook, as a table, and the versions and machines once.
local function sources()
  local names = { ['cover.png'] = 'okładka' }
  for _, noted in ipairs(figures) do names[noted.file:match '[^/]+$'] = 'rys.' .. NBSP .. noted.number end
  local rows, origins = {}, {}
  for result, of in pairs(made) do
    local shown = names[result] or (result:match '%.png$' and 'rysunek' or 'liczby') .. ': `' .. result .. '`'
    local loaded = sorted_keys(of.runs):map(function(run)
      local seeds = pandoc.List(of.runs[run]):map(function(seed) return ('%d'):format(seed) end)
      return ('`%s`%s(%s)'):format(run, NBSP, table.concat(seeds, ', '))
    end)
    local runs = #loaded > 0 and table.concat(loaded, ', ') or '–'
    local order = ('%s%03d%s'):format(of.maker, of.cell, result) -- in which they are made
    local cell = of.cell > 0 and ('%d'):format(of.cell) or '–'
    rows[order] = ('| %s | `%s` | %s | %s | `%s` |'):format(shown, of.maker, cell, runs, of.key:sub(1, 10))
    origins[origin(provenance[of.maker])] = true
  end
  local text = 'Rysunki i liczby notatników: ' .. table.concat(sorted_keys(origins), '; ') .. '. Liczby kilku treningów (`study.json`): '
    .. origin(provenance.study) .. '. Dane: MNIST, skrót `' .. provenance.study.inputs.MNIST .. '`. Sprawdzone zdania: '
    .. #claims .. '. Do wersji PDF dołączono `provenance.json`, `metrics.json`, `study.json`, `claims.json` oraz' .. NBSP
    .. '`figures.json`; czy zgadzają się ze źródłami, sprawdza `python -m genmodels verify`. Klucz w tabeli to skrót wszystkiego, '
    .. 'od czego wyniki notatnika zależą; treningi to te, które notatnik wczytał do danej komórki.\n\n'
    .. '| Wynik | Notatnik | Komórka kodu | Treningi (ziarno) | Klucz |\n'
    .. '|:-------|:-----------|------:|:--------------------|:------|\n'
    .. table.concat(sorted_keys(rows):map(function(order) return rows[order] end), '\n')
    .. '\n\n: Z czego powstały rysunki i liczby notatników.\n'
  return pandoc.read(text, 'markdown').blocks
end

-- A table wider than a phone scrolls by itself, also by keyboard.
local function Table(list)
  if not is 'html' then return end
  local name = pandoc.utils.stringify(list.caption.long)
  local attributes = { { 'role', 'region' }, { 'tabindex', '0' }, { 'aria-label', name } } -- in this order: the same bytes
  return pandoc.Div({ list }, pandoc.Attr('', { 'tabela' }, attributes))
end

local function Div(div)
  if div.classes:includes 'zrodla' then return pandoc.Div(sources(), { id = 'kolofon' }) end
  if div.classes:includes 'obok' and is 'typst' then return typst_grid(div) end
end

local function Cite(cite)
  local citation = cite.citations[1]
  if not citation.id:match '^fig%-' then return end
  local bare, id = citation.mode == 'SuppressAuthor', citation.id
  if is 'typst' then return pandoc.RawInline('typst', '#ref(<' .. id .. '>' .. (bare and ', supplement: none)' or ')')) end
  return pandoc.Link((bare and '' or 'Rysunek' .. NBSP) .. figures[id].number, '#' .. id)
end

local function RawBlock(block)
  if block.format == 'tex' and is 'typst' then return raw '#pagebreak(weak: true)' end -- \newpage
end

local function read_json(path, maker)
  if not pandoc.path.exists(path) then stop('there is no ' .. path .. '; ' .. maker) end
  return pandoc.json.decode(pandoc.system.read_file(path), false)
end

local function read_results(meta)
  results, draft = meta.results and pandoc.utils.stringify(meta.results) or RESULTS, meta.draft == true
  make_quotable(read_json(STUDY, '`make study` writes it'), 'study')
  provenance = read_json(results .. '/provenance.json', 'the notebooks write it')
  local committed = read_json(RESULTS .. '/provenance.json', '`make study` and `make bench` write it')
  provenance.study, provenance.benchmark = committed.study, committed.benchmark -- drafts have none of their own
  for maker, record in pairs(provenance) do
    local there = maker == 'benchmark' or pandoc.path.exists('../notebooks/' .. maker .. '.ipynb')
    for result, of in pairs(there and record.results or {}) do
      made[result] = { maker = maker, cell = of.cell, runs = of.runs, key = record.key }
    end
  end
  local numbers = read_json(results .. '/metrics.json', 'the notebooks write it')
  if draft then numbers.benchmark = read_json(RESULTS .. '/metrics.json', '`make bench` writes it').benchmark end
  for section, of in pairs(numbers) do
    if made[section] then make_quotable(of, section) else unmade[section] = true end
  end
end

local function cover()
  if pandoc.path.exists(LOGO) then return LOGO end
  if not made['cover.png'] then stop 'no notebook is on record as having made ../data/report/cover.png' end
  return results .. '/cover.png'
end

-- LaTeX's own title page has no place for these; Typst's template takes them from the metadata.
local function latex_extras(doc)
  doc.meta.subtitle = doc.meta.programme .. { pandoc.LineBreak() } .. doc.meta.course
  local image = '\\begin{center}\\includegraphics[width=.8\\linewidth]{' .. cover() .. '}\\end{center}'
  doc.meta['include-before'] = pandoc.MetaBlocks { raw(image) }
  doc.blocks:insert(1, raw '\\clearpage')
end

-- Polish typography: no line ends in a one-letter word, or breaks beside ± or ×, before a unit, inside a number or before
-- the number of a figure.
local UNITS = { nata = true, naty = true, ['nata,'] = true, ['nata.'] = true, s = true, piksela = true, pikseli = true, ['pikseli,'] = true }
local SIGNS = { ['±'] = true, ['×'] = true }
local function tied(before, after)
  local left, right = before.t == 'Str' and before.text or '', after.t == 'Str' and after.text or ''
  local orphan = left:match '^[%(„]*[aiouwzAIOUWZ]$'
  local number = left:match '%d$' and (UNITS[right] or right:match '^%%' or right:match '^%d%d%d')
  local citation = after.t == 'Cite' and after.citations[1].id:match '^fig%-' and left:match '^%(?[Rr]ys'
  return orphan or number or citation or SIGNS[left] or SIGNS[right]
end

local function tie(list)
  local changed
  for index = 2, #list - 1 do
    local kind = list[index].t
    if (kind == 'Space' or kind == 'SoftBreak') and tied(list[index - 1], list[index + 1]) then
      list[index], changed = pandoc.Str(NBSP), list
    end
  end
  return changed
end

-- For Typst: the cover, and what the PDF carries as attachments.
local function typst_extras(doc)
  local alt = doc.meta['cover-alt'] or stop 'expected cover-alt: what the cover shows, got none'
  local files = pandoc.List { cover() } .. figures:map(function(noted) return noted.file end)
  files = files:map(function(file) return file:match '[^/]+$' end)
  local values = { cover = cover(), ['plain-title'] = pandoc.utils.stringify(doc.meta.title or ''),
    ['plain-author'] = pandoc.utils.stringify(doc.meta.author or ''), ['cover-alt'] = pandoc.utils.stringify(alt), study = STUDY,
    results = results, claims = pandoc.json.encode(claims), figures = pandoc.json.encode(files) }
  for key, text in pairs(values) do doc.meta[key] = pandoc.MetaInlines { pandoc.RawInline('typst', quoted(text)) } end
end

local function html_extras(doc)
  doc.meta.cover, doc.meta['link-citations'] = cover(), true
  local lists = { pandoc.List(), pandoc.List() } -- the further figures after the others
  for _, noted in ipairs(figures) do
    local function content(element) return element.content end
    local plain = noted.caption:walk { Cite = content, Link = content }
    lists[noted.extra and 2 or 1]:insert { pandoc.Plain { pandoc.Link(plain, '#' .. noted.name) } }
  end
  doc.meta.lof = pandoc.MetaBlocks { pandoc.BulletList(lists[1] .. lists[2]) }
end

function Pandoc(doc)
  read_results(doc.meta)
  papers = pandoc.List(pandoc.utils.references(doc)):map(function(paper) return paper.id end)
  doc:walk { Figure = note_figure }
  doc:walk { Image = function(image)
    if not figures:find_if(function(noted) return noted.file == relocate(image.src) end) then
      stop('picture ' .. image.src .. ': expected ![Caption](file){#fig-name alt="..."} in a paragraph of its own', image.src)
    end
  end }
  local checks = { Cite = known_citation, Math = readable, Str = stray_dollar, Div = plain_div, RawBlock = plain_raw, RawInline = plain_raw }
  for _, kind in ipairs { 'Span', 'Code', 'Link', 'Image', 'Header', 'CodeBlock', 'Figure', 'Table' } do checks[kind] = plain_attributes end
  doc:walk(checks)
  doc:walk(TYPED):walk { Para = refuse_typed, Plain = refuse_typed, Header = refuse_typed }
  doc = doc:walk {
    Inlines = tie,
    Span = Span,
    Str = function(str) return str.text:find '[{}]' and pandoc.Str(fill_all(str.text)) or nil end,
    Math = function(math) math.text = fill(math.text):gsub('%s+', ' ') return math end,
  }
  if #false_claims > 0 then stop(table.concat(false_claims, '\n\n  report: ')) end
  if is 'typst' then doc = doc:walk { Math = typst_formula } end
  doc = doc:walk { traverse = 'topdown', Div = Div, Figure = Figure, Cite = Cite, RawBlock = RawBlock }:walk { Table = Table }
  if is 'typst' then typst_extras(doc) elseif is 'latex' then latex_extras(doc) else html_extras(doc) end
  return doc
end
