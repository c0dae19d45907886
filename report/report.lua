-- Pandoc filter of the report, for Typst and for LaTeX:
--   {{zadanie_1.mse.mean:.4f}}   a number from metrics.json, in Polish (format as in string.format; % gives per cent)
--   @fig-x, [-@fig-x]            "Rysunek 3", "3"
--   {{study.test.gan.label.mean:.2%}}   the same from study.json
--   ![Caption](file){#fig-x alt="..."}   a numbered figure that keeps its alternative text
--   ![Caption](file){#fig-x .dodatkowy alt="..."}   the same, numbered apart: A1, A2, ...
--   ::: obok                     the figures inside stand side by side
--   \newpage                     a new page
--   [0,5]{.ustalone}             a decimal or a percentage that is no result; typed without this it stops the build
--   [$q(z)$]{alt="q od z"}       a formula and how it is read; where it stands again it needs no alt
--   [VAE jest lepszy.]{claim="study.test.vae_kl.recognised.mean > 0.7"}   a sentence that stops the build once it is false
-- Metadata: `results`, the folder of figures and metrics.json (default ../data/report).

local RESULTS = '../data/report'
local LOGO = RESULTS .. '/Znak_graficzny_AGH.svg.png' -- not ours to ship; where it exists it takes the cover's place
local STUDY = RESULTS .. '/study.json' -- drafts quote it too
local NBSP = '\u{a0}'
local metrics, results
local alternatives = {} -- of formulas, by their TeX

local function is(format) return FORMAT:match(format) ~= nil end
local function raw(text) return pandoc.RawBlock(is 'latex' and 'latex' or 'typst', text) end
local function stop(message) error('\n\n  report: ' .. message .. '\n', 0) end

-- "line 12: ", where a text first stands in the source, however its lines are broken; pandoc's tree does not know.
local function place(text)
  local file = io.open(PANDOC_STATE.input_files[1])
  local source = file:read 'a'
  file:close()
  local whole = text:find '[%w_]$' and '%f[^%w_.]' or '' -- not the beginning of a longer key
  local start = source:find(text:gsub('%p', '%%%0'):gsub('%s+', '%%s+') .. whole)
  if not start then return '' end
  local _, breaks = source:sub(1, start):gsub('\n', '')
  return 'line ' .. breaks + 1 .. ': '
end

local function lookup(key)
  local value = metrics
  for part in key:gmatch '[^.]+' do
    if type(value) ~= 'table' then value = nil break end
    value = value[part] or value[(tonumber(part) or -1) + 1] -- a key, or a place in a list counted from 0
  end
  if value == nil or type(value) == 'table' then
    stop(place(key) .. 'no number "' .. key .. '" in metrics.json or study.json')
  end
  return value
end

-- 1234.5 -> 1 234,5 with non-breaking spaces
local function polish(value, format)
  if type(value) == 'string' then return value end
  if format == '' then format = math.tointeger(value) and 'd' or '.2f' end
  local percent = format:match '^(.*)%%$'
  local text
  if percent then
    text = string.format('%' .. percent .. 'f', 100 * value)
  elseif format == 'd' then
    text = string.format('%d', math.tointeger(value) or stop 'format d takes a whole number')
  else
    text = string.format('%' .. format, value)
  end
  local sign, whole, rest = text:match '^(%-?)(%d+)(.*)$'
  if #whole > 4 then whole = whole:reverse():gsub('(%d%d%d)', '%1 '):reverse():gsub('^ ', ''):gsub(' ', NBSP) end
  return (sign == '-' and '−' or '') .. whole .. rest:gsub('%.', ',') .. (percent and NBSP .. '%' or '')
end

local function fill(text)
  return (text:gsub('{{([%w_.]+):?([^}]*)}}', function(key, format) return polish(lookup(key), format) end))
end

-- Whether a claim holds: comparisons of keys and numbers with + - * / ( ) abs, joined by and, or, not. And its values.
local function judge(claim)
  local key, values, words = '%a[%w_]*%.[%w_.]+', {}, { ['and'] = true, ['or'] = true, ['not'] = true, abs = true }
  local function expected(got)
    stop(place(claim) .. 'claim "' .. claim .. '": expected comparisons of numbers joined by and, or, not; got ' .. got)
  end
  for word in claim:gsub(key, ''):gmatch '[%a_]+' do
    if not words[word] then expected('"' .. word .. '"') end
  end
  local code = claim:gsub(key, function(name)
    local value = lookup(name)
    if type(value) ~= 'number' then expected(name .. ' = ' .. tostring(value)) end
    values[#values + 1] = name .. ' = ' .. value
    return string.format('(%.17g)', value)
  end)
  local chunk = load('return ' .. code, '=claim', 't', { abs = math.abs })
  local run, holds = pcall(chunk)
  if not run or type(holds) ~= 'boolean' then expected 'something else' end
  return holds, table.concat(values, ', ')
end

local function Span(span)
  local claim, alt = span.attributes.claim, span.attributes.alt
  if alt and #span.content == 1 and span.content[1].t == 'Math' then
    alternatives[span.content[1].text] = alt
    return span.content
  end
  if not claim then return span.classes:includes 'ustalone' and span.content or nil end
  local holds, values = judge(claim)
  if not holds then
    stop(place(claim) .. '„' .. pandoc.utils.stringify(span) .. '” is no longer true: ' .. claim .. ' (' .. values .. ')')
  end
  return span.content
end

-- Stops at a typed decimal or percentage: a result is a reference. 100 % is none.
local function refuse_typed(list)
  for index, found in ipairs(list) do
    local before = list[index - 2] and list[index - 2].text or ''
    local text = found.t == 'Str' and not found.text:find('{{', 1, true) and found.text or ''
    local percent = text:match '^%%' and before:match '^[^{]*%d$' and before ~= '100'
    if percent or text:match '%d,%d' or text:match '%d%%' then
      local typed = percent and before .. ' %' or text
      local where = place(pandoc.utils.stringify(pandoc.Inlines { table.unpack(list, math.max(index - 4, 1), index) }))
      stop(where .. 'typed number "' .. typed .. '": a result is written {{key:format}}, a constant [' .. typed .. ']{.ustalone}')
    end
  end
end

local function constant(span) if span.classes:includes 'ustalone' then return span, false end end

local function relocate(path) return (path:gsub('^%.%./data/report', (results:gsub('%%', '%%%%')))) end

local function quoted(text) return '"' .. text:gsub('[\\"]', '\\%0') .. '"' end

local function inlines(content, format)
  return (pandoc.write(pandoc.Pandoc { pandoc.Plain(content) }, format):gsub('%s+$', ''))
end

local function picture(figure)
  local image
  figure:walk { Image = function(found) image = found end }
  local alt, name = pandoc.utils.stringify(image.caption), figure.identifier -- where pandoc puts alt="..."
  if alt == pandoc.utils.stringify(figure.caption.long) then
    stop(place('#' .. name) .. 'figure "' .. name .. '": expected alt="what is to be seen", got none or the caption again')
  end
  return relocate(image.src), alt, image.attributes.width or '100%', image.classes:includes 'dodatkowy'
end

local function caption(figure) return pandoc.utils.blocks_to_inlines(figure.caption.long) end

local function typst_figure(figure)
  local path, alt, width, extra = picture(figure)
  local kind = extra and ', kind: "dodatkowy", supplement: [Rysunek], numbering: n => "A" + str(n)' or ''
  return string.format('#figure(image(%s, width: %s, alt: %s), caption: [%s]%s) <%s>',
    quoted(path), width, quoted(alt), inlines(caption(figure), 'typst'), kind, figure.identifier)
end

local function latex_picture(figure)
  local path, _, width, extra = picture(figure)
  local own = extra and '\\stepcounter{dodatkowy}\\renewcommand{\\thefigure}{A\\arabic{dodatkowy}}' or ''
  local text = string.format('\\includegraphics[width=%.2f\\linewidth]{%s}%s\\caption{%s}\\label{%s}',
    tonumber(width:match '%d+') / 100, path, own, inlines(caption(figure), 'latex'), figure.identifier)
  return text .. (extra and '\\addtocounter{figure}{-1}' or '')
end

local function typst_formula(math)
  local alt, display = alternatives[math.text], math.mathtype == 'DisplayMath'
  if not alt then stop(place(math.text) .. 'formula $' .. math.text .. '$: expected [$...$]{alt="how it is read"} once') end
  local code = inlines({ math }, 'typst')
  return pandoc.RawInline('typst', ('#math.equation(block: %s, alt: %s, %s.body)'):format(display, quoted(alt), code))
end

local function Figure(figure)
  if is 'typst' then return raw(typst_figure(figure)) end
  if is 'latex' then return raw('\\begin{figure}[H]\\centering' .. latex_picture(figure) .. '\\end{figure}') end
end

local function side_by_side(div)
  local figures = div.content:filter(function(block) return block.t == 'Figure' end)
  if is 'typst' then
    local cells = figures:map(function(figure) return '[' .. typst_figure(figure) .. ']' end)
    return raw('#grid(columns: ' .. #cells .. ', gutter: 1em, ' .. table.concat(cells, ', ') .. ')')
  end
  local start = string.format('\\begin{minipage}[t]{%.3f\\linewidth}\\centering', 0.97 / #figures)
  local cells = figures:map(function(figure) return start .. latex_picture(figure) .. '\\end{minipage}' end)
  return raw('\\begin{figure}[H]' .. table.concat(cells, '\\hfill ') .. '\\end{figure}')
end

local function Div(div)
  if div.classes:includes 'obok' and (is 'typst' or is 'latex') then return side_by_side(div), false end
end

local function Cite(cite)
  local citation = cite.citations[1]
  if not citation.id:match '^fig%-' then return end
  local bare = citation.mode == 'SuppressAuthor'
  if is 'typst' then
    return pandoc.RawInline('typst', '#ref(<' .. citation.id .. '>' .. (bare and ', supplement: none)' or ')'))
  elseif is 'latex' then
    return pandoc.RawInline('latex', (bare and '' or 'Rysunek~') .. '\\ref{' .. citation.id .. '}')
  end
end

local function RawBlock(block)
  if block.format == 'tex' and block.text:match '^\\newpage%s*$' and is 'typst' then return raw '#pagebreak(weak: true)' end
end

local function read_metrics(meta)
  results = meta.results and pandoc.utils.stringify(meta.results) or RESULTS
  local file = io.open(results .. '/metrics.json')
  if not file then stop('there is no ' .. results .. '/metrics.json; the notebooks write it') end
  metrics = pandoc.json.decode(file:read 'a', false)
  file:close()
  local study = io.open(STUDY)
  if not study then stop('there is no ' .. STUDY .. '; `make study` writes it') end
  metrics.study = pandoc.json.decode(study:read 'a', false)
  study:close()
end

local function cover()
  local logo = io.open(LOGO)
  if logo then logo:close() return LOGO end
  return results .. '/cover.png'
end

-- LaTeX's own title page has no place for these; Typst's template takes them from the metadata.
local function latex_title(doc)
  local function text(key) return inlines(pandoc.utils.blocks_to_inlines { pandoc.Plain(doc.meta[key]) }, 'latex') end
  doc.meta.author = pandoc.MetaInlines { pandoc.RawInline('latex', text 'author' .. '\\\\ ' .. text 'programme') }
  doc.meta.subtitle = pandoc.MetaInlines { pandoc.RawInline('latex', text 'course') }
  local image = '\\begin{center}\\includegraphics[width=.8\\linewidth]{' .. cover() .. '}\\end{center}'
  doc.meta['include-before'] = pandoc.MetaBlocks { raw(image) }
  doc.blocks:insert(1, raw '\\clearpage')
end

-- Polish typography: no line ends in a one-letter word or breaks before ±.
local function tie(list)
  for index = 2, #list - 1 do
    local before, after = list[index - 1], list[index + 1]
    local orphan = before.t == 'Str' and before.text:match '^[%(„]*[aiouwzAIOUWZ]$'
    local spread = before.t == 'Str' and before.text == '±' or after.t == 'Str' and after.text == '±'
    if list[index].t == 'Space' or list[index].t == 'SoftBreak' then
      if orphan or spread then list[index] = pandoc.Str(NBSP) end
    end
  end
  return list
end

function Pandoc(doc)
  read_metrics(doc.meta)
  doc:walk { traverse = 'topdown', Span = constant, Inlines = refuse_typed }
  doc = doc:walk {
    Inlines = tie,
    Span = Span,
    Str = function(str) return str.text:find('{{', 1, true) and pandoc.Str(fill(str.text)) or nil end,
    Math = function(math) math.text = fill(math.text):gsub('%s+', ' ') return math end,
  }
  if is 'latex' then latex_title(doc) end
  if is 'typst' then
    doc = doc:walk { Math = typst_formula }
    local alt = doc.meta['cover-alt'] or stop 'expected cover-alt: what the cover shows, got none'
    for key, text in pairs { cover = cover(), ['cover-alt'] = pandoc.utils.stringify(alt) } do
      doc.meta[key] = pandoc.MetaInlines { pandoc.RawInline('typst', quoted(text)) }
    end
  end
  return doc:walk { traverse = 'topdown', Div = Div, Figure = Figure, Cite = Cite, RawBlock = RawBlock }
end
