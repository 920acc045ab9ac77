// work.h - The headers of work.cc, apart, so that they can be precompiled.
#pragma once
#include <array>
#include <atomic>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>
