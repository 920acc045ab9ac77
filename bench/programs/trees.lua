-- trees.lua - Binary trees and strings: an interpreter's heap of small tables, and its buffers.
local scale = tonumber(arg[1]) or 1

local function tree(depth)
  if depth == 0 then return {} end
  return { tree(depth - 1), tree(depth - 1) }
end

local function size(node)
  return node[1] and 1 + size(node[1]) + size(node[2]) or 1
end

local kept = tree(17)
local total = 0
for turn = 1, math.max(1, math.floor(220 * scale)) do
  total = total + size(tree(13))
  local parts = {}
  for i = 1, 4000 do parts[i] = ("%d:%s"):format(i, ("x"):rep(i % 50)) end
  total = total + #table.concat(parts, ",")
end
print(total + size(kept))
