#pragma once

#include <cstddef>
#include <string_view>

/** How many letters must be put in, taken out or changed to make one word of another. */
std::size_t distance(std::string_view from, std::string_view to);
