-- In Polish: "i in." for the "et al." that pandoc's Polish locale leaves in Latin, and no line ends in "i".
local NBSP = pandoc.Str("\u{a0}")

local function tie(inlines)
  for place = 1, #inlines - 2 do
    local word, after = inlines[place], inlines[place + 2]
    if word.t == "Str" and word.text == "et" and after.t == "Str" and after.text:match("^al%.") then
      word.text, after.text = "i", after.text:gsub("^al", "in")
    end
    if word.t == "Str" and word.text == "i" and inlines[place + 1].t == "Space" then
      inlines[place + 1] = NBSP
    end
  end
  return inlines
end

function Pandoc(doc)
  if pandoc.utils.stringify(doc.meta.lang or ""):sub(1, 2) ~= "pl" then
    return doc
  end
  return doc:walk({ Cite = function(cite) return cite:walk({ Inlines = tie }) end })
end
